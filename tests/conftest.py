"What the process-level tests share: the project as it stands, a copy to work on, a child process."
import os, subprocess, sys
from fnmatch import fnmatch
from pathlib import Path
from shutil import copytree
import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
IGNORED = ['.git'] + [o.strip('/') for o in (ROOT/'.gitignore').read_text().splitlines() if o and o[0] != '#']


def ignored(folder, names):
    "What git ignores, and virtual environments under any name: neither copied nor looked at."
    return {n for n in names if any(fnmatch(n, o) for o in IGNORED) or (Path(folder)/n/'pyvenv.cfg').exists()}

def files(folder=ROOT, pattern='*'):
    "The project's files below `folder` whose names match `pattern`."
    for at,dirs,names in os.walk(folder):
        skip = ignored(at, dirs + names)
        dirs[:] = [d for d in dirs if d not in skip]
        yield from (Path(at)/n for n in names if n not in skip and fnmatch(n, pattern))

def snapshot(folder):
    "Path -> bytes, of every file of the project."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files(folder)}

def run(*cmd, cwd=ROOT, ok=True, **env):
    "A child process that knows nothing of the tests or of the `make` it may run under; fails loudly unless `ok=False`."
    drop = 'IN_TEST MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES PYTHON VENV FLAGS ARGS'.split()
    env = {k:v for k,v in os.environ.items() if k not in drop} | {'OMP_NUM_THREADS': '1'} | env
    p = subprocess.run([str(c) for c in cmd], cwd=cwd, env=env, capture_output=True, text=True)
    if ok and p.returncode: pytest.fail(f"{' '.join(map(str, cmd))} ended with {p.returncode}\n{p.stdout}{p.stderr}")
    return p

@pytest.fixture
def copy(tmp_path):
    "A copy of the project, free to be spoiled."
    return copytree(ROOT, tmp_path/'copy', ignore=ignored)
