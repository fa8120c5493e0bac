"What the process-level tests share: the project as it stands, a copy to work on, a child process."
import multiprocessing
import os
import runpy
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from shutil import copytree
from threading import RLock
import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
FLAGS = os.environ.get('FLAGS', '').split()
slow = pytest.mark.skipif('slow' not in FLAGS, reason='takes long: make test FLAGS=slow')
gpu = pytest.mark.skipif('gpu' not in FLAGS, reason='needs a GPU: make test FLAGS=gpu')
posix = pytest.mark.skipif(os.name == 'nt', reason='Windows has no signals that kill, and no sh')
LINES = (ROOT/'.gitignore').read_text().splitlines()
IGNORED = ['.git', *(line.strip('/') for line in LINES if line and line[0] != '#')]


def ignored(folder, names):
    "What git ignores, and virtual environments under any name: neither copied nor looked at."
    patterns = {n for n in names if any(fnmatch(n, pattern) for pattern in IGNORED)}
    return patterns | {n for n in names if (Path(folder)/n/'pyvenv.cfg').exists()}

def files(folder=ROOT, pattern='*'):
    "The project's files below `folder` whose names match `pattern`."
    for parent, dirs, names in os.walk(folder):
        skip = ignored(parent, dirs + names)
        dirs[:] = [d for d in dirs if d not in skip]
        yield from (Path(parent)/n for n in names if n not in skip and fnmatch(n, pattern))

def snapshot(folder):
    "Path -> bytes, of every file of the project."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files(folder)}

def run(*cmd, cwd=ROOT, ok=True, **env):
    """A child process that knows nothing of the tests or of the `make` it may run under; fails
    loudly unless `ok=False`."""
    drop = 'IN_TEST MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES PYTHON VENV FLAGS ARGS'.split()
    env = {k: v for k, v in os.environ.items() if k not in drop} | {'OMP_NUM_THREADS': '1'} | env
    cmd = [str(c) for c in cmd]
    p = subprocess.run(cmd, cwd=cwd, env=env, capture_output=True, text=True)
    if ok and p.returncode:
        pytest.fail(f"{' '.join(cmd)} ended with {p.returncode}\n{p.stdout}{p.stderr}")
    return p

@pytest.fixture
def copy(tmp_path):
    "A copy of the project, free to be spoiled."
    return copytree(ROOT, tmp_path/'copy', ignore=ignored)


# Processes that start in milliseconds: forked, each anew, from one that has imported torch

PRELOAD = ['pytest', 'sklearn.datasets', 'torch._dynamo', 'torchmetrics', 'sgn_nb.apps.cli',
           'sgn_nb.apps.classifier', 'sgn_nb.experiments.runner', 'sgn_nb.results.tables']

def child(log, script, *args):
    "The new process: what it says goes to `log`, then it does what `python script args` does."
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1, 2)
    from tqdm import tqdm
    tqdm.set_lock(RLock())  # its own is a semaphore, which a killed process would leave behind
    sys.argv = [script, *args]
    runpy.run_path(script, run_name='__main__')

@pytest.fixture(scope='session')
def imported(tmp_path_factory):
    """The process to fork from: it has one thread, a cache of its own, and nothing of the tests'
    own state. Where there is none, as on Windows, each process starts anew."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    from multiprocessing import forkserver
    server = multiprocessing.get_context('forkserver')
    server.set_forkserver_preload(PRELOAD)
    with pytest.MonkeyPatch.context() as m:
        for name in 'OMP_NUM_THREADS', 'IN_TEST': m.setenv(name, '1')
        m.setenv('SGN_CACHE', str(tmp_path_factory.mktemp('cache')))
        forkserver.ensure_running()
    return server

@pytest.fixture
def start(imported, tmp_path_factory):
    """`start(script, *args)` is `python script args` as a `multiprocessing.Process`; `p.log` is the
    file of what it says."""
    logs = tmp_path_factory.mktemp('logs')
    processes = []
    def start(script, *args):
        log = logs/str(len(processes))
        p = imported.Process(target=child, args=(str(log), str(script), *map(str, args)))
        p.start()
        p.log = log
        processes.append(p)
        return p
    yield start
    for p in processes: p.kill()

def ended(p):
    "Exit status of a process from `start`, once it has ended, and what it said."
    p.join(600)  # a busy machine is slow
    return p.exitcode, p.log.read_text()
