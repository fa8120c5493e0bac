"""The committed records: every run is named by its spec and by code that is in the history, and the
tables beside them say what they say."""
import subprocess
from io import StringIO
import pandas as pd
import pytest
from conftest import ROOT
from sgn_nb.experiments.plans import spec_id
from sgn_nb.experiments.records import archives, load_records, pack, read_lines, save_record
from sgn_nb.results.runs import runs_csv

FILES = sorted(p for p in (ROOT/'records').glob('*.jsonl') if p.stem != 'labels')
LINES = sorted((ROOT/'records').glob('*.jsonl'))

# Commits that a rebase took away after the runs, and one with changes that nobody committed. The
# lists end when these runs are made again.
LOST = {'cifar_cpu': {'670613a259', '1b92116bd2'}, 'cifar_cpu_search': {'a2fc30661e'},
        'cifar_long': {'42c464dc19'}, 'labels': {'172f9eb66d+changes'}}

@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_names_follow_from_specs(path):
    """Each line has the id of its spec, with defaults for the fields that its time did not have;
    lines are sorted, and none is there twice."""
    records = load_records(path)
    assert [r.id for r in records] == [spec_id(r.spec) for r in records]
    ids = [line['id'] for line in read_lines(path)]
    assert ids == sorted(set(ids)) and len(ids) == len(records) > 0

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

def git(*words):
    """What git says about this project, or None: it may be a copy without a history, or there may
    be no git."""
    cmd = ['git', '-C', str(ROOT), *words]
    try: p = subprocess.run(cmd, capture_output=True, text=True)
    except OSError: return None
    return None if p.returncode else p.stdout.strip()

@pytest.fixture(scope='module')
def history():
    "Commits, and hashes of the package's folder at each of them."
    if git('rev-parse', '--show-toplevel') != str(ROOT): pytest.skip('no git, or no history here')
    if git('rev-parse', '--is-shallow-repository') != 'false':
        pytest.skip('a shallow clone: its history is not whole')
    commits = git('rev-list', 'HEAD').split()
    return commits, {git('rev-parse', '-q', '--verify', f'{c}:sgn_nb') for c in commits} - {None}

@pytest.mark.parametrize('path', LINES, ids=lambda p: p.stem)
def test_the_code_of_every_run_is_in_the_history(path, history):
    """A record names a commit of the history, or a tree of the package that some commit has; what
    does not is listed by name."""
    commits, trees = history
    def is_among(hashes, short):
        return short is not None and any(h.startswith(short) for h in hashes)
    def is_in_history(env):
        return is_among(commits, env['commit']) or is_among(trees, env.get('tree'))
    envs = [line['env'] for line in read_lines(path)]
    lost = {env['commit'] for env in envs if not is_in_history(env)}
    assert lost == LOST.get(path.stem, set())
