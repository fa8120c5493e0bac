"""The grids that belong to this package: they parse, they are what the paper ran, and planning a
thousand runs takes no data."""
import os
import subprocess
from collections import Counter
from itertools import product
import pytest
from conftest import BIN, ROOT, slow
from sgn_nb.experiments.plans import read_grid, read_settings, spec_id
from sgn_nb.experiments.grids import plan_runs
from sgn_nb.methods.registry import PAPER_METHODS
from sgn_nb.experiments.records import load_records
from sgn_nb.results.runs import at_paper_scale, noise_name
from sgn_nb.experiments.search import load_search, read_search
from sgn_nb.results.tables import paper_numbers

def names(pattern): return sorted(p.name for p in (ROOT/'experiments').glob(pattern))

SETTINGS = names('*_settings.toml')
SEARCHES = names('*_search.toml')
FILES = [n for n in names('*.toml') if n not in SETTINGS + SEARCHES]

def recorded(name):
    "Ids of the runs in a file of records."
    return {r.id for r in load_records(ROOT/f'records/{name}.jsonl')}

def plans_of(name):
    "The runs that a file asks for."
    return plan_runs(read_grid(ROOT/f'experiments/{name}.toml'))

def ids_of(name): return {plan.id for plan in plans_of(name)}

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
    cmd = [BIN/'sgn_grid', ROOT/f'experiments/table{table}.toml', '--dry-run']
    p = subprocess.run(cmd, capture_output=True, text=True, env=env, cwd='/')
    assert p.returncode == 0, p.stderr
    runs = {1: 700, 2: 300, 3: 60, 4: 105}[table]
    assert p.stdout.count('to do') == runs, p.stdout[-300:]

def test_table_3_is_complete():
    """Each method of Table 3 has five runs on both sets, at a scale at which the two may be
    compared; SGN's settings are the paper's."""
    specs = [p.spec for p in plans_of('table3')]
    assert all(at_paper_scale(s) for s in specs)
    runs = [(s.dataset, s.method) for s in specs]
    def training_set(row): return row.dataset.replace('ilsvrc12', 'webvision')
    assert set(runs) == {(training_set(r), r.method) for r in paper_numbers(3).itertuples()}
    assert all(runs.count(k) == 5 for k in runs)
    sgn = {s.dataset: s for s in specs if s.method == 'sgn'}
    def letters(s): return [s.settings[k] for k in ('gamma', 'alpha', 'beta', 'temperature')]
    assert letters(sgn['clothing1m']) == [.1, .7, .9999, 1.]
    assert letters(sgn['webvision']) == [.01, .999, .9999, .3]
    assert sgn['webvision'].mixup
    assert not any(s.mixup for s in specs if s.method == 'nal')

def searched_methods(name):
    "The paper's twelve; fewer where an experiment trains fewer."
    if name.startswith('cifar10_two_cores'): return {'ce', 'elr', 'sgn'}
    if name.startswith('cifar_constant'): return {'ce', 'gce', 'elr', 'sop', 'nal', 'sgn'}
    return set(PAPER_METHODS)

@pytest.mark.parametrize('name', SEARCHES)
def test_every_search_is_planned(name):
    "Every method has the same number of runs in a trial, and they are not those of a table."
    search = read_search(ROOT/'experiments'/name)
    counts = Counter(s.method for s in search.specs)
    assert search.trials >= 1
    assert 'lr' in search.fields
    assert set(counts) == searched_methods(name)
    assert len(set(counts.values())) == 1
    assert all(s.seed >= 100 for s in search.specs)

@slow
@pytest.mark.parametrize('number', [1, 4])
def test_digits_tables_are_on_record_and_come_back(number, tmp_path):
    "Every run of the file is on record; a deleted table comes back from them, byte for byte."
    grids = {1: 'digits_constant', 4: 'digits_constant_table4'}
    assert ids_of(grids[number]) <= recorded('digits_constant')
    for form in ('md', 'html', 'tex', 'csv'):
        out = tmp_path/f'digits_table{number}.{form}'
        cmd = [BIN/'sgn_table', str(number), '--records', ROOT/'records/digits_constant.jsonl',
               '--format', form, '--out', out]
        subprocess.run(cmd, check=True, capture_output=True)
        assert out.read_bytes() == (ROOT/'tables'/out.name).read_bytes()

@pytest.mark.parametrize('name', SETTINGS)
def test_settings_have_a_provenance(name):
    """Each method's settings come from the same number of trials; a file that no search has written
    yet says so, and is for the methods of its search."""
    results = load_search(ROOT/'experiments'/name)
    if not results:
        assert 'until a search says more' in (ROOT/'experiments'/name).read_text()
        assert set(read_settings(ROOT/'experiments'/name)) == searched_methods(name)
        return
    assert set(results) == searched_methods(name)
    provenances = [provenance for _,provenance in results.values()]
    assert len({p['trials'] for p in provenances}) == 1
    for p in provenances:
        assert p['val_acc_default'] == 'none' or p['val_acc'] >= p['val_acc_default']

@pytest.mark.parametrize('table', [1, 2, 4])
def test_paper_scale_tables_are_complete(table):
    "Each number of the paper's table has five runs, at a scale at which the two may be compared."
    specs = [p.spec for p in plans_of(f'table{table}')]
    assert all(at_paper_scale(s) for s in specs)
    def switches(s): return (s.settings['reweight'], s.settings['correct']) if table == 4 else ()
    def switches_of_row(r): return (r.reweight == '1', r.correct == '1') if table == 4 else ()
    runs = [(s.dataset, noise_name(s), s.method, *switches(s)) for s in specs]
    rows = paper_numbers(table).itertuples()
    assert set(runs) == {(r.dataset, r.noise, r.method, *switches_of_row(r)) for r in rows}
    assert all(runs.count(k) == 5 for k in rows)

def test_the_ablation_on_photographs():
    """Three trainings on four kinds of labels, three seeds; the whole of SGN where the table of all
    methods has it, too, is the same run."""
    def specs_of(name): return {p.id: p.spec for p in plans_of(name)}
    all12, ablation = specs_of('cifar_cpu'), specs_of('cifar_cpu_table4')
    def switches(s): return s.settings['reweight'], s.settings['correct']
    trainings = Counter((noise_name(s), switches(s)) for s in ablation.values())
    kinds = 'sym-0.4', 'asym-0.4', 'random1', 'worst'
    assert set(trainings) == set(product(kinds, [(False, False), (True, False), (True, True)]))
    assert set(trainings.values()) == {3}
    shared = [ablation[name] for name in ablation.keys() & all12.keys()]
    assert Counter(noise_name(s) for s in shared) == {'sym-0.4': 3, 'asym-0.4': 3, 'worst': 3}
    assert all(switches(s) == (True, True) for s in shared)

def test_the_ablation_on_features():
    "Three trainings on four kinds of labels, five seeds; the whole of SGN is the table's own run."
    all12, ablation = ids_of('features_table1'), plans_of('features_table4')
    def switches(s): return s.settings['reweight'], s.settings['correct']
    trainings = Counter((noise_name(p.spec), switches(p.spec)) for p in ablation)
    kinds = 'sym-0.4', 'asym-0.4', 'random1', 'worst'
    assert set(trainings) == set(product(kinds, [(False, False), (True, False), (True, True)]))
    assert set(trainings.values()) == {5}
    whole = {p.id for p in ablation if switches(p.spec) == (True, True)}
    assert whole == {p.id for p in ablation} & all12

def test_rates_on_features_are_tried_fairly():
    "As many trials for every method, on labels of all four kinds, with a seed of no table."
    specs = [p.spec for p in plans_of('features_rates')]
    trials = Counter((s.method, noise_name(s)) for s in specs)
    kinds = 'none', 'sym-0.4', 'worst', 'aggregate'
    assert set(trials) == set(product(PAPER_METHODS, kinds))
    assert set(trials.values()) == {3}
    assert not {s.seed for s in specs} & {p.spec.seed for p in plans_of('features_table1')}

def test_all_of_cifar_on_two_cores():
    """The rows of the table: the recipe with and without label smoothing, long and short runs, the
    parts of SGN, a ladder of lengths, 5,000 images. Search and table share the recipe, not the seed."""
    specs = [p.spec for p in plans_of('cifar10_two_cores')]
    def count(*names, **fields):
        chosen = [s for s in specs if all(getattr(s, k) == v for k,v in fields.items())]
        return Counter(tuple(getattr(s, k) for k in names) for s in chosen)
    assert count('method', val_share=0.) == {('ls',): 3, ('ce',): 3}
    assert count('method', 'label_column', epochs=96) == {
        (m, column): 1 for m, column in [('ce', 'clean'), ('elr', 'clean'), ('sgn', 'clean'),
                                         ('ce', 'worst'), ('sgn', 'worst')]}
    assert count('method', epochs=10, noise='sym-0.4') == {('ce',): 3, ('elr',): 3, ('sgn',): 12}
    assert count('method', 'epochs', average=False) == {
        (m, e): 1 for m, e in product(('ce', 'sgn'), (3, 6, 12, 24, 48))}
    assert count('method', 'noise', n_train=5000) == {
        (m, n): 1 for m, n in product(('ce', 'elr', 'sop', 'sgn'), ('none', 'sym-0.4'))}
    recipe = 'net', 'momentum', 'weight_decay', 'bias_lr', 'schedule', 'pad', 'alternate', 'precision'
    search = read_search(ROOT/'experiments/cifar10_two_cores_search.toml')
    assert len(count(*recipe)) == 1
    assert {tuple(getattr(s, k) for k in recipe) for s in search.specs} == set(count(*recipe))
    assert not {s.seed for s in search.specs} & {s.seed for s in specs}

def test_records_on_photographs_are_those_of_the_grids():
    "Nothing lies in their folders that no file asks for."
    assert recorded('cifar_cpu') <= ids_of('cifar_cpu') | ids_of('cifar_cpu_table4')
    assert recorded('cifar_long') <= ids_of('cifar_long')

def test_ids_follow_from_specs():
    """The id of every committed record is what its spec says today: a run that is on record is
    found again."""
    files = [p for p in (ROOT/'records').glob('*.jsonl') if p.stem not in ('labels', 'warnings', 'detectors')]
    records = [r for p in files for r in load_records(p)]
    assert len(records) > 800
    wrong = [r.id for r in records if spec_id(r.spec) != r.id]
    assert not wrong, wrong[:3]

def test_demo_is_on_record():
    "The committed records of the demo are those that its file asks for."
    assert ids_of('demo') <= recorded('digits')

def test_dry_run_lists_and_writes_nothing(tmp_path):
    "What is recorded and what is to do, one line a run; no folder is made."
    def dry_run(file, *options):
        cmd = [BIN/'sgn_grid', ROOT/'experiments'/file, '--dry-run', *options]
        return subprocess.run(cmd, capture_output=True, text=True)
    p = dry_run('demo.toml', '--out', ROOT/'records/digits')
    assert p.returncode == 0, p.stderr
    assert p.stdout.count('recorded') == 6, p.stdout
    p = dry_run('table1.toml', '--only', 'sgn', '--out', tmp_path/'new')
    assert p.stdout.count('to do') == 70, p.stdout + p.stderr
    assert not (tmp_path/'new').exists()

def test_records_say_nothing_about_where():
    "No record holds a path or the name of a machine."
    import platform
    for path in (ROOT/'records').rglob('*.json*'):
        text = path.read_text()
        assert str(ROOT) not in text and '/home/' not in text and '/work/' not in text
        assert not platform.node() or f'"{platform.node()}"' not in text
