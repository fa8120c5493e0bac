"""A grid on a real Dask scheduler with real workers, on the loopback: the records of one machine,
bit for bit, whoever dies; and what a worker lacks is said before a run starts."""
import json
import os
import signal
import subprocess
import sys
import time
from shutil import copytree
import numpy as np
import pytest
from conftest import BIN, ROOT, slow

pytest.importorskip('distributed', reason='needs Dask: pip install "sgn_nb[cluster]"')
linux = pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
pytestmark = [slow, linux]
PATIENCE = 600  # seconds, before something counts as hung: a busy machine is slow

GRID = '''
method = ["ce", "sgn"]
seed = [0, 1]
n_train = 200
batch = 30
net = "mlp"
epochs = 60
'''
HERE = '''
import sys
from sgn_nb.experiments.grids import ThisProcess, plan_runs, run_grid
from sgn_nb.experiments.plans import read_grid
print(run_grid(plan_runs(read_grid(sys.argv[1])), sys.argv[2], ThisProcess(), 'cpu'))
'''

class Cluster:
    "A scheduler, and workers that see neither the tests' folder nor their environment."
    def __init__(self, folder):
        self.folder = folder
        self.file = folder/'scheduler.json'
        self.processes = []
        self.start('scheduler', '--port', '0', '--scheduler-file', self.file)
        self.until(self.file.exists)
        self.address = json.loads(self.file.read_text())['address']

    def start(self, kind, *options, **env):
        "A process of Dask's, with its log in a file."
        quiet = {'OMP_NUM_THREADS': '1', 'SGN_CACHE': str(self.folder/'cache'),
                 'PYTHONPATH': os.environ.get('PYTHONPATH', '')}
        command = [sys.executable, '-m', 'dask', kind, *options, '--host', '127.0.0.1',
                   '--dashboard-address', '127.0.0.1:0']
        name = f'{kind}{len(self.processes)}'
        with open(self.folder/f'{name}.log', 'w') as log:
            p = subprocess.Popen(list(map(str, command)), cwd=self.folder, stdout=log, stderr=log,
                                 env=os.environ | quiet | env)
        self.processes.append(p)
        return p, self.folder/f'{name}.log'

    def worker(self, threads=1, **env):
        "A worker that has joined, and its process."
        p, log = self.start('worker', self.address, '--nthreads', threads, '--no-nanny', **env)
        self.until(lambda: 'Registered to' in log.read_text())
        return p

    def until(self, is_so):
        "Wait until something is so, for minutes where the machine is busy."
        end = time.time() + PATIENCE
        while not is_so():
            assert time.time() < end, [p.read_text()[-2000:] for p in self.folder.glob('*.log')]
            time.sleep(.05)

    def end(self):
        for p in self.processes: p.kill()
        for p in self.processes: p.wait()

@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp('cluster'))
    yield cluster
    cluster.end()

@pytest.fixture
def workers(cluster):
    "Starts workers, which are gone when the test is over."
    started = []
    def start(**options):
        started.append(cluster.worker(**options))
        return started[-1]
    yield start
    for p in started:
        p.kill()
        p.wait()

@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    "The grid's records, from one process."
    folder = tmp_path_factory.mktemp('undisturbed')
    (folder/'grid.toml').write_text(GRID)
    command = [sys.executable, '-c', HERE, folder/'grid.toml', folder/'out']
    subprocess.run(command, check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})
    return records(folder/'out')

def records(out):
    "Every record of a folder, without versions and seconds."
    def without_env(path):
        record = json.loads(path.read_text())
        return {k: v for k, v in record.items() if k != 'env'}
    return {p.name: without_env(p) for p in out.glob('*.json')}

def start_grid(tmp_path, cluster, out, text=GRID, **env):
    "`sgn_grid` on the cluster, started in the test's folder."
    (tmp_path/'grid.toml').write_text(text)
    command = [BIN/'sgn_grid', 'grid.toml', '--scheduler', cluster.address, '--out', out,
               '--device', 'cpu']
    return subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=os.environ | env, preexec_fn=hear_ctrl_c)

def hear_ctrl_c(): signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever started the tests

def epoch_files(out): return list((out/'.claims').glob('*.epochs'))

# To the command, `/proc/self/cwd` is its own folder; to a worker, the cluster's.
@pytest.mark.parametrize('place', ['shared', '/proc/self/cwd/apart'])
def test_a_worker_killed_in_mid_run(cluster, workers, undisturbed, tmp_path, place):
    """Two workers, each at a run, of which one is killed: the records of one process, bit for bit,
    each once, whether the workers see the folder or not."""
    out = tmp_path/place.split('/')[-1]
    first, _ = workers(), workers()
    p = start_grid(tmp_path, cluster, tmp_path/place if place == 'shared' else place)
    cluster.until(lambda: len(epoch_files(out)) >= 2 or p.poll() is not None)
    assert p.poll() is None, p.communicate()
    first.kill()
    output, errors = p.communicate(timeout=PATIENCE)
    assert p.returncode == 0, output + errors
    assert '4 recorded, 0 failed, 0 to do' in output
    assert records(out) == undisturbed
    assert not epoch_files(out) and not list(out.glob('.claims/*.sign'))
    assert not list(cluster.folder.glob('cache/runs/*.json'))

@pytest.mark.parametrize('sign, status', [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_command_that_is_stopped_ends_its_runs(cluster, workers, tmp_path, sign, status):
    "However it is stopped: its workers notice, and are free for others."
    workers()
    p = start_grid(tmp_path, cluster, tmp_path/'out', GRID.replace('60', '100_000'))
    cluster.until(lambda: epoch_files(tmp_path/'out'))
    p.send_signal(sign)
    _, errors = p.communicate(timeout=PATIENCE)
    assert p.returncode == status and 'Traceback' not in errors, errors
    if status == 130: assert errors.splitlines()[-1] == 'sgn_grid: stopped', errors
    p = start_grid(tmp_path, cluster, tmp_path/'other', GRID.replace('60', '1'))
    output, errors = p.communicate(timeout=PATIENCE)
    assert p.returncode == 0, output + errors

def test_failures_and_searches(cluster, workers, tmp_path):
    "A run that cannot work is named when it fails; the trials of a search are the budget's."
    workers()
    p = start_grid(tmp_path, cluster, '/proc/self/cwd/out',
                   GRID.replace('mlp', 'fast_cnn').replace('[0, 1]', '0'))
    output, errors = p.communicate(timeout=PATIENCE)
    assert p.returncode == 1, output + errors
    assert errors.count('failed: ') == 2 and 'ValueError: fast_cnn' in errors
    assert len(list((tmp_path/'out').glob('*.failed.json'))) == 2
    text = GRID.replace('60', '2') + '[search]\ntrials = 2\nlr = [0.01, 0.2]\n'
    (tmp_path/'search.toml').write_text(text)
    command = [BIN/'sgn_search', 'search.toml', '--scheduler', cluster.address, '--out',
               '/proc/self/cwd/trials', '--device', 'cpu']
    p = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert p.returncode == 0, p.stdout + p.stderr
    assert (tmp_path/'trials/settings.toml').exists()
    assert len(records(tmp_path/'trials')) == 8  # two methods, two trials, two seeds


# What is wrong is said before a run starts

def is_refused(process, out, *words):
    "Exit status 2, one line with these words, and nothing written."
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, errors
    assert len(errors.splitlines()) == 1, errors
    for word in words: assert word in errors, errors
    assert not out.exists()

def test_nobody_listens(cluster, tmp_path):
    "An address without a scheduler."
    (tmp_path/'grid.toml').write_text(GRID)
    command = [BIN/'sgn_grid', 'grid.toml', '--scheduler', 'tcp://127.0.0.1:9', '--out', 'out']
    p = subprocess.Popen(command, cwd=tmp_path, text=True, stderr=subprocess.PIPE)
    is_refused(p, tmp_path/'out', 'no Dask scheduler answers at tcp://127.0.0.1:9')

def test_a_worker_with_other_code(cluster, workers, tmp_path):
    "One of two workers has another version of the package; it is named."
    copytree(ROOT/'sgn_nb', tmp_path/'old/sgn_nb')
    with (tmp_path/'old/sgn_nb/spec.py').open('a') as f: f.write('# of yesterday\n')
    workers()
    workers(PYTHONPATH=str(tmp_path/'old'))
    p = start_grid(tmp_path, cluster, 'out')
    is_refused(p, tmp_path/'out', 'worker tcp://127.0.0.1:', 'it has another sgn_nb',
               'install the same one')

def test_a_worker_without_the_data(cluster, workers, tmp_path):
    "The command knows the file in SGN_DATA, and the worker does not."
    (tmp_path/'data').mkdir()
    np.savez(tmp_path/'data/bits.npz', x=np.zeros((40, 3)), y=np.arange(40) % 2)
    workers()
    p = start_grid(tmp_path, cluster, 'out', 'dataset = "bits"\nnoise = "none"\nbatch = 8\n',
                   SGN_DATA=str(tmp_path/'data'))
    is_refused(p, tmp_path/'out', 'worker tcp://127.0.0.1:', "unknown data set 'bits'")

def test_a_worker_of_several_threads(cluster, workers, tmp_path):
    "Runs seed their process, so there is one at a time in it."
    workers(threads=2)
    is_refused(start_grid(tmp_path, cluster, 'out'), tmp_path/'out', 'start it with --nthreads 1')

def test_a_scheduler_that_dies(tmp_path, tmp_path_factory):
    "One line; what is on record is on record. The worker ends, though its run has not."
    cluster = Cluster(tmp_path_factory.mktemp('mortal'))
    try:
        worker = cluster.worker()
        p = start_grid(tmp_path, cluster, 'out', GRID.replace('60', '100_000'))
        cluster.until(lambda: epoch_files(tmp_path/'out'))
        cluster.processes[0].kill()
        _, errors = p.communicate(timeout=PATIENCE)
        worker.wait(PATIENCE)
    finally: cluster.end()
    assert p.returncode == 2, errors
    assert errors.splitlines()[-1] == (
        'sgn_grid: the workers are gone; the same command goes on from there'), errors
