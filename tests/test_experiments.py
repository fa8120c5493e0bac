"""The grids that belong to this package: they parse, they are what the paper ran, and planning a
thousand runs takes no data."""
import os
import subprocess
from collections import Counter
import pytest
from conftest import BIN, ROOT, slow
from sgn_nb.experiments.plans import read_grid, spec_id
from sgn_nb.experiments.grids import plan_runs
from sgn_nb.methods.registry import PAPER_METHODS
from sgn_nb.experiments.records import load_records
from sgn_nb.results.runs import at_paper_scale, noise_name
from sgn_nb.experiments.search import load_search, read_search
from sgn_nb.results.tables import paper_numbers

FILES = sorted(p.name for p in (ROOT/'experiments').glob('*.toml') if not p.stem.endswith(('_search', '_settings')))
SETTINGS = sorted(p.name for p in (ROOT/'experiments').glob('*_settings.toml'))
SEARCHES = sorted(p.name for p in (ROOT/'experiments').glob('*_search.toml'))

def recorded(name):
    "Ids of the runs in a file of records."
    return {r.id for r in load_records(ROOT/f'records/{name}.jsonl')}

@pytest.mark.parametrize('name', FILES)
def test_every_file_is_planned(name, monkeypatch):
    "Every run of every file has an id of its own, without any data."
    monkeypatch.delenv('SGN_DATA', raising=False)
    plans = plan_runs(read_grid(ROOT/'experiments'/name))
    assert len({p.id for p in plans}) == len(plans)

@pytest.mark.parametrize('table', [1, 2, 3, 4])
def test_one_command_starts_a_table(table):
    "All four tables are planned from published numbers of images, without any of them."
    env = {k: v for k,v in os.environ.items() if k != 'SGN_DATA'}
    p = subprocess.run([BIN/'sgn_grid', ROOT/f'experiments/table{table}.toml', '--dry-run'], capture_output=True, text=True, env=env, cwd='/')
    assert p.returncode == 0 and p.stdout.count('to do') == {1: 700, 2: 300, 3: 60, 4: 105}[table], p.stdout[-300:] + p.stderr

def test_table_3_is_complete():
    "Each method of Table 3 has five runs on both sets, at a scale at which the two may be compared; SGN's settings are the paper's."
    specs = [p.spec for p in plan_runs(read_grid(ROOT/'experiments/table3.toml'))]
    assert all(at_paper_scale(s) for s in specs)
    runs = [(s.dataset, s.method) for s in specs]
    assert set(runs) == {(r.dataset.replace('ilsvrc12', 'webvision'), r.method) for r in paper_numbers(3).itertuples()}
    assert all(runs.count(k) == 5 for k in runs)
    sgn = {s.dataset: s for s in specs if s.method == 'sgn'}
    assert [sgn['clothing1m'].settings[k] for k in ('gamma', 'alpha', 'beta', 'temperature')] == [.1, .7, .9999, 1.]
    assert [sgn['webvision'].settings[k] for k in ('gamma', 'alpha', 'beta', 'temperature')] == [.01, .999, .9999, .3]
    assert sgn['webvision'].mixup and not any(s.mixup for s in specs if s.method == 'nal')

@pytest.mark.parametrize('name', SEARCHES)
def test_every_search_is_planned(name):
    "Every method has the same number of runs in a trial, and they are not those of a table."
    search = read_search(ROOT/'experiments'/name)
    each = Counter(s.method for s in search.specs)
    assert search.trials >= 1 and 'lr' in search.fields and set(each) == set(PAPER_METHODS) and len(set(each.values())) == 1
    assert all(s.seed >= 100 for s in search.specs)

@slow
@pytest.mark.parametrize('number', [1, 4])
def test_digits_tables_are_on_record_and_come_back(number, tmp_path):
    "Every run of the file is on record; a table that was deleted comes back from them, byte for byte."
    ids = {s.id for s in plan_runs(read_grid(ROOT/f'experiments/digits_table{number}.toml'))}
    assert ids <= recorded('digits_tables')
    for form in ('md', 'html', 'tex', 'csv'):
        out = tmp_path/f'digits_table{number}.{form}'
        subprocess.run([BIN/'sgn_table', str(number), '--records', ROOT/'records/digits_tables.jsonl', '--format', form, '--out', out], check=True, capture_output=True)
        assert out.read_bytes() == (ROOT/'tables'/out.name).read_bytes()

@pytest.mark.parametrize('name', SETTINGS)
def test_settings_have_a_provenance(name):
    "Each method's settings come from the same number of trials."
    found = load_search(ROOT/'experiments'/name)
    assert set(found) == set(PAPER_METHODS) and len({p['trials'] for _,p in found.values()}) == 1
    assert all(p['val_acc_default'] == 'none' or p['val_acc'] >= p['val_acc_default'] for _,p in found.values())

@pytest.mark.parametrize('table', [1, 2, 4])
def test_paper_scale_tables_are_complete(table):
    "Each number of the paper's table has five runs, at a scale at which the two may be compared."
    specs = [p.spec for p in plan_runs(read_grid(ROOT/f'experiments/table{table}.toml'))]
    assert all(at_paper_scale(s) for s in specs)
    def parts(s): return (s.settings['reweight'], s.settings['correct']) if table == 4 else ()
    def parts_of_paper(r): return (r.reweight == '1', r.correct == '1') if table == 4 else ()
    runs = [(s.dataset, noise_name(s), s.method, *parts(s)) for s in specs]
    rows = {(r.dataset, r.noise, r.method, *parts_of_paper(r)) for r in paper_numbers(table).itertuples()}
    assert set(runs) == rows
    assert all(runs.count(k) == 5 for k in rows)

def test_the_ablation_on_photographs():
    "Three trainings on four kinds of labels, three seeds; the whole of SGN where the table of all methods has it, too, is the same run."
    all12, parts = ({p.id: p.spec for p in plan_runs(read_grid(ROOT/f'experiments/{name}.toml'))} for name in ('cifar_cpu', 'cifar_cpu_table4'))
    what = Counter((noise_name(s), s.settings['reweight'], s.settings['correct']) for s in parts.values())
    assert set(what.values()) == {3} and set(what) == {(n, *on) for n in ('sym-0.4', 'asym-0.4', 'random1', 'worst') for on in ((False, False), (True, False), (True, True))}
    shared = [parts[i] for i in parts.keys() & all12.keys()]
    assert Counter(noise_name(s) for s in shared) == {'sym-0.4': 3, 'asym-0.4': 3, 'worst': 3} and all(s.settings['reweight'] and s.settings['correct'] for s in shared)

def test_records_on_photographs_are_those_of_the_grids():
    "Nothing lies in their folders that no file asks for."
    for folder, names in (('cifar_cpu', ('cifar_cpu', 'cifar_cpu_table4')), ('cifar_long', ('cifar_long',))):
        asked = {s.id for name in names for s in plan_runs(read_grid(ROOT/f'experiments/{name}.toml'))}
        assert recorded(folder) <= asked

def test_ids_follow_from_specs():
    """The id of every committed record is what its spec says today: a run that is on record is found
    again."""
    files = [p for p in (ROOT/'records').glob('*.jsonl') if p.stem != 'labels']
    records = [r for p in files for r in load_records(p)]
    assert len(records) > 800
    wrong = [r.id for r in records if spec_id(r.spec) != r.id]
    assert not wrong, wrong[:3]

def test_demo_is_on_record():
    "The committed records of the demo are those that its file asks for."
    ids = {s.id for s in plan_runs(read_grid(ROOT/'experiments/demo.toml'))}
    assert ids <= recorded('digits')

def test_dry_run_lists_and_writes_nothing(tmp_path):
    "What is recorded and what is to do, one line a run; no folder is made."
    p = subprocess.run([BIN/'sgn_grid', ROOT/'experiments/demo.toml', '--dry-run', '--out', ROOT/'records/digits'], capture_output=True, text=True)
    assert p.returncode == 0 and p.stdout.count('recorded') == 6, p.stdout + p.stderr
    p = subprocess.run([BIN/'sgn_grid', ROOT/'experiments/table1.toml', '--dry-run', '--only', 'sgn', '--out', tmp_path/'new'], capture_output=True, text=True)
    assert p.stdout.count('to do') == 70 and not (tmp_path/'new').exists()

def test_records_say_nothing_about_where():
    "No record holds a path or the name of a machine."
    import platform
    for path in (ROOT/'records').rglob('*.json*'):
        text = path.read_text()
        assert str(ROOT) not in text and '/home/' not in text and '/work/' not in text
        assert not platform.node() or f'"{platform.node()}"' not in text
