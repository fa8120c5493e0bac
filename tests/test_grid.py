"""A grid may be killed with `kill -9` at any moment, and shared: in the end every run is on record,
once, as if nothing had happened."""
import json
import signal
import subprocess
import sys
import time
from random import Random
import pytest
from conftest import BIN, ended, posix, slow

pytestmark = posix

GRID = '''
method = ["ce", "sgn", "elr"]
seed = [0, 1]
n_train = 200
batch = 30
net = "mlp"
epochs = 8
'''
# One worker, as `sgn_grid` starts it, with a checkpoint after every step; it says what it ran.
WORK = '''
import sys
from functools import partial
from sgn_nb.experiments import grids, runner
from sgn_nb.experiments.plans import read_grid
file, out = sys.argv[1:]
runner.Checkpoint = partial(runner.Checkpoint, every=0)
try_run = grids.try_run
def said(spec, *args): print('ran', spec.id, flush=True); try_run(spec, *args)
grids.try_run = said
grids.run_unclaimed(grids.plan_runs(read_grid(file)), out, 'cpu', pause=.05)
'''

@pytest.fixture
def worker(start, tmp_path):
    "Starts a worker on the grid, into a folder."
    (tmp_path/'grid.toml').write_text(GRID)
    (tmp_path/'work.py').write_text(WORK)
    return lambda out: start(tmp_path/'work.py', tmp_path/'grid.toml', out)

def records(out):
    "Every record of a folder, without versions and seconds."
    return {p.name: {k: v for k,v in json.loads(p.read_text()).items() if k != 'env'} for p in out.glob('*.json')}

def runs(workers):
    "What the workers started to run, in all, as far as their lines are whole: one may be writing."
    return sorted(line.split()[1] for w in workers for line in w.log.read_text().splitlines(True) if line.startswith('ran ') and line.endswith('\n'))

@pytest.fixture
def undisturbed(worker, tmp_path):
    status, said = ended(worker(tmp_path/'undisturbed'))
    assert status == 0, said
    made = records(tmp_path/'undisturbed')
    assert len(made) == 6
    return made


@slow
def test_killed_ten_times(worker, undisturbed, tmp_path):
    """Ten workers killed one after the other at random moments, then one that is left alone: the
    undisturbed records, and no others."""
    out, rng = tmp_path/'out', Random(0)
    for _ in range(10):
        w = worker(out)
        time.sleep(rng.uniform(.05, .6))
        w.kill(); w.join()
    status, said = ended(worker(out))
    assert status == 0, said
    assert records(out) == undisturbed
    assert not list(out.glob('*.ckpt'))

def test_two_of_them_share(worker, undisturbed, tmp_path):
    "Two workers, one folder: every run once."
    out = tmp_path/'out'
    crew = [worker(out), worker(out)]
    for w in crew:
        status, said = ended(w)
        assert status == 0, said
    assert records(out) == undisturbed
    assert len(runs(crew)) == len(set(runs(crew))) == 6

def test_one_dies_the_other_takes_over(worker, undisturbed, tmp_path):
    "What a killed worker had claimed is taken over by one that is alive, without a new start."
    out = tmp_path/'out'
    first = worker(out)
    while not list(out.glob('*.ckpt')): time.sleep(.005)
    second = worker(out)
    while not second.log.exists() or not runs([second]): time.sleep(.005)
    first.kill(); first.join()
    status, said = ended(second)
    assert status == 0, said
    assert records(out) == undisturbed

@slow
def test_command_killed_and_started_again(undisturbed, tmp_path):
    """`sgn_grid` itself, two workers: killed, its workers go with it; started again, it does what
    is left."""
    out = tmp_path/'out'
    cmd = [BIN/'sgn_grid', tmp_path/'grid.toml', '--workers', '2', '--device', 'cpu', '--out', out]
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while p.poll() is None and not list(out.glob('*.json')): time.sleep(.01)
    p.send_signal(signal.SIGKILL)
    assert p.wait() == -signal.SIGKILL
    deadline = time.time() + 30
    while (left := workers_of(out)) and time.time() < deadline: time.sleep(.1)
    assert not left
    before = {q: q.stat().st_mtime_ns for q in out.glob('*.json')}
    done = subprocess.run(cmd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '6 recorded, 0 failed, 0 to do' in done.stdout
    assert records(out).keys() == undisturbed.keys()
    assert all(q.stat().st_mtime_ns == t for q,t in before.items())         # what was on record was not run again

def workers_of(out):
    "Claims in a folder that a living process holds."
    from filelock import FileLock, Timeout
    held = []
    for p in (out/'.claims').glob('*.lock'):
        try: FileLock(p).acquire(blocking=False).lock.release()
        except Timeout: held.append(p.stem)
    return held

def test_failures_are_recorded_and_tried_again_only_when_asked(start, tmp_path):
    "One run of three cannot work: the others are recorded; a second start leaves it alone."
    (tmp_path/'grid.toml').write_text('method = ["ce", "sgn"]\nseed = [0, 1]\nn_train = 200\nbatch = 30\nepochs = 2\nnet = ["mlp", "fast_cnn"]\n')
    (tmp_path/'work.py').write_text(WORK)
    ws = []
    for _ in range(2):
        ws.append(start(tmp_path/'work.py', tmp_path/'grid.toml', tmp_path/'out'))
        status, said = ended(ws[-1])
        assert status == 0, said
    assert len(runs(ws)) == 8 and len(set(runs(ws))) == 8
    failed = list((tmp_path/'out').glob('*.failed.json'))
    assert len(failed) == 4 and len(list((tmp_path/'out').glob('*.json'))) == 8
    for p in failed: assert 'fast_cnn' in json.loads(p.read_text())['error'] and str(tmp_path) not in p.read_text()

def test_folder_that_cannot_be_written_to(tmp_path):
    "Noticed before anything is started, in one line."
    (tmp_path/'grid.toml').write_text(GRID)
    (tmp_path/'file').write_text('')
    p = subprocess.run([BIN/'sgn_grid', tmp_path/'grid.toml', '--out', tmp_path/'file'], capture_output=True, text=True)
    assert p.returncode == 2 and len(p.stderr.splitlines()) == 1, p.stderr

ALONE = '''
import sys
from sgn_nb.experiments import grids
from sgn_nb.spec import Spec
run = grids.plan_runs([Spec(method='ce', n_train=1000, epochs=40, val_share=.5)])
class Bar(grids.tqdm):
    def update(self, n=1): super().update(n); print('bar', self.n, self.total, flush=True)
grids.tqdm = Bar
print(grids.run_grid(run, sys.argv[1], device='cpu')['recorded'])
'''

def test_the_bar_moves_within_a_run(tmp_path):
    "A single run of forty epochs: the bar shows some of them before the run has ended, never goes back, and ends full."
    (tmp_path/'alone.py').write_text(ALONE)
    p = subprocess.run([sys.executable, tmp_path/'alone.py', tmp_path/'out'], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    shown = [list(map(int, line.split()[1:])) for line in p.stdout.splitlines() if line.startswith('bar ')]
    epochs = [n for n, _ in shown]
    assert {total for _, total in shown} == {40} and epochs == sorted(epochs)
    assert len({n for n in epochs if 0 < n < 40}) >= 2 and epochs[-1] == 40
    assert 'runs 1/1, failed 0' in p.stderr
    assert not list((tmp_path/'out/.claims').glob('*.epochs'))

def test_a_failure_is_said_when_it_happens(tmp_path):
    "The reason stands beside the bar, once, before the last word about the grid."
    (tmp_path/'grid.toml').write_text('method = "ce"\nseed = [0, 1]\nn_train = 200\nbatch = 30\nepochs = 2\nnet = ["mlp", "fast_cnn"]\n')
    p = subprocess.run([BIN/'sgn_grid', tmp_path/'grid.toml', '--out', tmp_path/'out', '--device', 'cpu'], capture_output=True, text=True)
    assert p.returncode == 1 and p.stderr.count('failed: ') == 2 and 'ValueError: fast_cnn' in p.stderr
    assert '2 recorded, 2 failed, 0 to do' in p.stdout
