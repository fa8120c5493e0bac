"""A search may be shared, and killed at any moment: in the end every method has had its trials, and
no more."""
import subprocess
import time
from random import Random
import pytest
from conftest import BIN, ended, posix, slow
from sgn_nb.experiments.plans import read_grid, read_settings
from sgn_nb.experiments.search import (
    counted_trials, open_storage, open_study, read_search, search_result)

SEARCH = '''
method = ["ce", "gce"]
seed = [7, 8]
n_train = 200
batch = 30
net = "mlp"
epochs = 4
[search]
trials = 4
lr = [0.01, 0.2, "log"]
'''
WORK = '''
import sys
from sgn_nb.experiments import search
from sgn_nb.experiments.grids import ThisProcess, open_queue
file, out = sys.argv[1:]
suggest = search.suggest
def suggest_aloud(trial, space):
    values = suggest(trial, space)
    print('trial', trial.study.study_name, trial.number, flush=True)
    return values
search.suggest = suggest_aloud
s = search.read_search(file)
studies = search.open_studies(s, search.open_storage(f'{out}/small.journal'))
with open_queue(s.specs, out, ThisProcess(), 'cpu') as queue: search.run_trials(queue, s, studies)
'''

@pytest.fixture
def worker(start, tmp_path):
    "Starts a worker of the search, in a folder."
    (tmp_path/'small.toml').write_text(SEARCH)
    (tmp_path/'work.py').write_text(WORK)
    (tmp_path/'out').mkdir()
    return lambda: start(tmp_path/'work.py', tmp_path/'small.toml', tmp_path/'out')

def studies(tmp_path):
    storage = open_storage(str(tmp_path/'out/small.journal'))
    return [open_study('small', m, storage) for m in ('ce', 'gce')]

def trials(w):
    "The trials that a worker began."
    lines = w.log.read_text().splitlines()
    return [tuple(line.split()[1:]) for line in lines if line.startswith('trial ')]


@posix
@slow
def test_two_processes_share_one_study(worker, tmp_path):
    "Both take part, no trial is run by both, and the budget is spent exactly."
    crew = [worker(), worker()]
    for w in crew:
        status, output = ended(w)
        assert status == 0, output
    began = [trials(w) for w in crew]
    assert all(began) and not set(began[0]) & set(began[1])
    for s in studies(tmp_path):
        assert len(s.trials) == 4
        assert all(t.state.is_finished() for t in s.trials)
        assert s.trials[0].params['lr'] == .05

@posix
@slow
def test_killed_again_and_again(worker, tmp_path):
    """Six workers killed at random moments, then one that is left alone: every trial that was cut
    short has been run, with the same settings."""
    rng = Random(0)
    for _ in range(6):
        w = worker()
        time.sleep(rng.uniform(3, 6))
        w.kill()
        w.join()
    status, output = ended(worker())
    assert status == 0, output
    small = read_search(tmp_path/'small.toml')
    for s, method in zip(studies(tmp_path), ('ce', 'gce')):
        counted = counted_trials(s)
        assert len(counted) == small.trials
        assert all(t.state.name == 'COMPLETE' for t in counted)
        cut_short = [t.params for t in s.trials if t.state.name == 'FAIL' and t.params]
        assert all(params in [t.params for t in counted] for params in cut_short)
        _,provenance = search_result(s, small.runs(method), small.fields)
        assert provenance['trials'] == small.trials
    assert not list((tmp_path/'out').glob('*.ckpt'))

def test_command(tmp_path):
    "From a file to settings that a grid reads; a second call finds everything done."
    (tmp_path/'small.toml').write_text(SEARCH.replace('trials = 4', 'trials = 2'))
    cmd = [BIN/'sgn_search', tmp_path/'small.toml', '--out', tmp_path/'out', '--workers', '2',
           '--device', 'cpu', '--settings', tmp_path/'found.toml']
    p = subprocess.run(cmd, capture_output=True, text=True)
    assert p.returncode == 0, p.stdout + p.stderr
    assert '| gce ' in p.stdout
    text = (tmp_path/'found.toml').read_text()
    settings = read_settings(tmp_path/'found.toml')
    assert set(settings) == {'ce', 'gce'}
    assert '[study.gce]' in text
    assert str(tmp_path) not in text
    (tmp_path/'grid.toml').write_text('settings_from = "found.toml"\nmethod = "gce"')
    assert read_grid(tmp_path/'grid.toml')[0].settings == {'q': settings['gce']['q']}
    p = subprocess.run(cmd, capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    assert (tmp_path/'found.toml').read_text() == text

@pytest.mark.parametrize('text, message', [
    ('method = "ce"', 'must have trials'),
    ('method = "cee"\n[search]\ntrials = 1', "did you mean 'ce'")])
def test_bad_files(tmp_path, text, message):
    (tmp_path/'bad.toml').write_text(text)
    cmd = [BIN/'sgn_search', tmp_path/'bad.toml', '--out', tmp_path/'out']
    p = subprocess.run(cmd, capture_output=True, text=True)
    assert p.returncode == 2
    assert message in p.stderr
    assert len(p.stderr.splitlines()) == 1
    assert not (tmp_path/'out').exists()
