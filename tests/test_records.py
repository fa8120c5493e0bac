"""The committed records: packing loses nothing, and the tables beside them say what they say. Ids and
provenance are checked by tools/verify_records.py."""
from io import StringIO
import pandas as pd
import pytest
from conftest import ROOT
from sgn_nb.experiments.records import archives, load_records, pack, save_record
from sgn_nb.results.runs import runs_csv

OTHER = 'labels', 'warnings'        # measurements that are no runs
FILES = sorted(p for p in (ROOT/'records').glob('*.jsonl') if p.stem not in OTHER)

@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_packing_loses_nothing(path, tmp_path):
    "From lines to a file each and back to lines: the same records."
    records = load_records(path)[::25]
    for r in records: save_record(r, tmp_path/'runs')
    assert pack(tmp_path/'runs', tmp_path/'runs.jsonl') == len(records)
    assert load_records(tmp_path/'runs.jsonl') == records == load_records(tmp_path/'runs')

@pytest.mark.parametrize('path', archives(ROOT/'records'), ids=lambda p: p.stem)
def test_tables_of_runs_are_what_the_records_say(path):
    "tables/*_runs.csv come back byte for byte, and their accuracies are the records'."
    text = (ROOT/f'tables/{path.stem}_runs.csv').read_text()
    assert text == runs_csv(path)
    may_be_empty = {c: '' for c in ('test_acc', 'best_val', 'oracle', 'memorised')}
    rows = pd.read_csv(StringIO(text), keep_default_na=False, na_values=may_be_empty)
    rows = rows.set_index('id')
    for r in load_records(path):
        row = rows.loc[r.id]
        assert (row.method, row.seed, row.test_acc) == (r.spec.method, r.spec.seed, r.accuracy())
        if r.predictors('val_acc'): assert row.best_val == r.accuracy(pick='best_val')
        if not r.predictors('memorised'): continue
        assert row.memorised == r.curve[-1][f'memorised/{r.reported()}']
