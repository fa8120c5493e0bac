"""A grid may be killed with `kill -9` at any moment, and shared: in the end every run is on record,
once, as if nothing had happened."""
import json
import signal
import subprocess
import sys
import time
from random import Random
import pytest
from psutil import Process
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
# Half of these cannot work: digits are too small for `fast_cnn`.
TOO_SMALL = '''
seed = [0, 1]
n_train = 200
batch = 30
epochs = 2
net = ["mlp", "fast_cnn"]
'''
# A command that runs all by itself, with a checkpoint after every step; it says what it ran.
WORK = '''
import sys
from functools import partial
from sgn_nb.experiments import grids, runner
from sgn_nb.experiments.plans import read_grid
file, out = sys.argv[1:]
runner.Checkpoint = partial(runner.Checkpoint, every=0)
try_run = grids.try_run
def try_aloud(plan, *args):
    print('ran', plan.id, flush=True)
    try_run(plan, *args)
grids.try_run = try_aloud
grids.run_grid(grids.plan_runs(read_grid(file)), out, grids.ThisProcess(), 'cpu')
'''

@pytest.fixture
def worker(start, tmp_path):
    "Starts a worker on the grid, into a folder."
    (tmp_path/'grid.toml').write_text(GRID)
    (tmp_path/'work.py').write_text(WORK)
    return lambda out: start(tmp_path/'work.py', tmp_path/'grid.toml', out)

def records(out):
    "Every record of a folder, without versions and seconds."
    def without_env(path):
        record = json.loads(path.read_text())
        return {k: v for k,v in record.items() if k != 'env'}
    return {p.name: without_env(p) for p in out.glob('*.json')}

def runs(workers):
    "What the workers started to run, in all, as far as their lines are whole: one may be writing."
    lines = [line for w in workers for line in w.log.read_text().splitlines(True)]
    whole = [line for line in lines if line.startswith('ran ') and line.endswith('\n')]
    return sorted(line.split()[1] for line in whole)

@pytest.fixture
def undisturbed(worker, tmp_path):
    status, output = ended(worker(tmp_path/'undisturbed'))
    assert status == 0, output
    whole = records(tmp_path/'undisturbed')
    assert len(whole) == 6
    return whole


@slow
def test_killed_ten_times(worker, undisturbed, tmp_path):
    """Ten workers killed one after the other at random moments, then one that is left alone: the
    undisturbed records, and no others."""
    out, rng = tmp_path/'out', Random(0)
    for _ in range(10):
        w = worker(out)
        time.sleep(rng.uniform(.05, .6))
        w.kill()
        w.join()
    status, output = ended(worker(out))
    assert status == 0, output
    assert records(out) == undisturbed
    assert not list(out.glob('*.ckpt'))

@slow
def test_two_of_them_share(worker, undisturbed, tmp_path):
    "Two workers, one folder: every run once."
    out = tmp_path/'out'
    crew = [worker(out), worker(out)]
    for w in crew:
        status, output = ended(w)
        assert status == 0, output
    assert records(out) == undisturbed
    assert len(runs(crew)) == len(set(runs(crew))) == 6

def test_one_dies_the_other_takes_over(worker, undisturbed, tmp_path):
    "What a killed worker had claimed is taken over by one that is alive, without a new start."
    out = tmp_path/'out'
    first = worker(out)
    while not list(out.glob('*.ckpt')): time.sleep(.005)
    second = worker(out)
    while not second.log.exists() or not runs([second]): time.sleep(.005)
    first.kill()
    first.join()
    status, output = ended(second)
    assert status == 0, output
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
    times = {q: q.stat().st_mtime_ns for q in out.glob('*.json')}
    p = subprocess.run(cmd, capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    assert '6 recorded, 0 failed, 0 to do' in p.stdout
    assert records(out).keys() == undisturbed.keys()
    # what was on record was not run again
    assert all(q.stat().st_mtime_ns == t for q,t in times.items())

@slow
@pytest.mark.parametrize('workers, status', [(2, 0), (1, 1)])
def test_a_process_of_the_pool_is_killed(undisturbed, tmp_path, workers, status):
    "Those that are left do its work, too; without any, the command says what is left to do."
    out = tmp_path/'out'
    cmd = [BIN/'sgn_grid', tmp_path/'grid.toml', '--workers', str(workers), '--device', 'cpu',
           '--out', out]
    p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while p.poll() is None and not workers_of(out): time.sleep(.01)
    pool = [c for c in Process(p.pid).children() if 'spawn_main' in ' '.join(c.cmdline())]
    pool[0].kill()
    output, errors = p.communicate(timeout=300)
    assert p.returncode == status, output + errors
    if status: assert '1 worker(s) ended early; the same command goes on' in output
    else: assert records(out) == undisturbed
    assert 'Traceback' not in errors

def workers_of(out):
    "Claims in a folder that a living process holds."
    from filelock import FileLock, Timeout
    names = []
    for p in (out/'.claims').glob('*.lock'):
        try: FileLock(p).acquire(blocking=False).lock.release()
        except Timeout: names.append(p.stem)
    return names

def test_failures_are_recorded_and_tried_again_only_when_asked(start, tmp_path):
    "One run of three cannot work: the others are recorded; a second start leaves it alone."
    (tmp_path/'grid.toml').write_text(f'method = ["ce", "sgn"]{TOO_SMALL}')
    (tmp_path/'work.py').write_text(WORK)
    ws = []
    for _ in range(2):
        ws.append(start(tmp_path/'work.py', tmp_path/'grid.toml', tmp_path/'out'))
        status, output = ended(ws[-1])
        assert status == 0, output
    assert len(runs(ws)) == 8
    assert len(set(runs(ws))) == 8
    failures = list((tmp_path/'out').glob('*.failed.json'))
    assert len(failures) == 4
    assert len(list((tmp_path/'out').glob('*.json'))) == 8
    for path in failures:
        text = path.read_text()
        assert 'fast_cnn' in json.loads(text)['error']
        assert str(tmp_path) not in text

def test_folder_that_cannot_be_written_to(tmp_path):
    "Noticed before anything is started, in one line."
    (tmp_path/'grid.toml').write_text(GRID)
    (tmp_path/'file').write_text('')
    cmd = [BIN/'sgn_grid', tmp_path/'grid.toml', '--out', tmp_path/'file']
    p = subprocess.run(cmd, capture_output=True, text=True)
    assert p.returncode == 2, p.stderr
    assert len(p.stderr.splitlines()) == 1, p.stderr

ALONE = '''
import sys
from sgn_nb.experiments import grids
from sgn_nb.spec import Spec
class Bar(grids.tqdm):
    def update(self, n=1):
        super().update(n)
        print('bar', self.n, self.total, flush=True)
if __name__ == '__main__':  # the pool's processes read this file, too
    run = grids.plan_runs([Spec(method='ce', n_train=1000, epochs=40, val_share=.5)])
    grids.tqdm = Bar
    print(grids.run_grid(run, sys.argv[1], device='cpu')['recorded'])
'''

@slow
def test_the_bar_moves_within_a_run(tmp_path):
    """A single run of forty epochs: the bar shows some of them before the run has ended, never
    goes back, and ends full."""
    (tmp_path/'alone.py').write_text(ALONE)
    cmd = [sys.executable, tmp_path/'alone.py', tmp_path/'out']
    p = subprocess.run(cmd, capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    lines = [line for line in p.stdout.splitlines() if line.startswith('bar ')]
    bars = [list(map(int, line.split()[1:])) for line in lines]
    assert {total for _,total in bars} == {40}
    epochs = [n for n,_ in bars]
    assert epochs == sorted(epochs)
    assert epochs[-1] == 40
    assert len({n for n in epochs if 0 < n < 40}) >= 2
    assert 'runs 1/1, failed 0' in p.stderr
    assert not list((tmp_path/'out/.claims').glob('*.epochs'))

@slow
def test_a_failure_is_said_when_it_happens(tmp_path):
    "The reason stands beside the bar, once, before the last word about the grid."
    (tmp_path/'grid.toml').write_text(f'method = "ce"{TOO_SMALL}')
    cmd = [BIN/'sgn_grid', tmp_path/'grid.toml', '--out', tmp_path/'out', '--device', 'cpu']
    p = subprocess.run(cmd, capture_output=True, text=True)
    assert p.returncode == 1
    assert p.stderr.count('failed: ') == 2
    assert 'ValueError: fast_cnn' in p.stderr
    assert '2 recorded, 2 failed, 0 to do' in p.stdout
