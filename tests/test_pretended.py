"""Training on a GPU without one: PyTorch is told of a CUDA device that a CPU stands in for, see
`tests/pretended/device.py`. What is where, what is waited for and how often a kernel is launched
are true; how long it takes is not. As a script: writes `tests/pretended/launches.csv`."""
import platform
import shutil
import sys
from pathlib import Path
from subprocess import run as start
import pytest
import torch
from conftest import FLAGS, ROOT, run

HERE = ROOT/'tests'/'pretended'
TORCH = '2.14'                       # the pretence meddles with what PyTorch does not promise

def obstacle():
    "Why there can be no pretended device here, or nothing."
    if (platform.system(), platform.machine()) != ('Linux', 'x86_64'): return 'not Linux on x86-64'
    if not shutil.which('cc'): return 'no C compiler (cc)'
    if not torch.__version__.startswith(f'{TORCH}.'):
        return f'written for PyTorch {TORCH}, not {torch.__version__}'
    if not torch.version.cuda: return 'a PyTorch without CUDA'
    if torch.cuda.is_available(): return 'a real GPU'

def build(folder):
    "The two libraries; the environment of a process that loads them before its own."
    devices, driver = folder/'devices.so', folder/'libcuda.so.1'
    for source, library in ('devices.c', devices), ('driver.c', driver):
        start(['cc', '-shared', '-fPIC', '-o', library, HERE/source], check=True)
    paths = ':'.join(map(str, (ROOT, ROOT/'tests', HERE)))
    return {'LD_PRELOAD': str(devices), 'LD_LIBRARY_PATH': str(folder), 'PYTHONPATH': paths}

@pytest.fixture(scope='module')
def env(tmp_path_factory):
    if obstacle(): pytest.skip(f'no pretended GPU: {obstacle()}')
    return build(tmp_path_factory.mktemp('pretended'))

def long_part(name): return pytest.param(name, marks=pytest.mark.slow)

LONG = [long_part(name) for name in ('graphs', 'resumed', 'front_doors')]

@pytest.mark.parametrize('part', ['steps', *LONG])
def test_on_a_pretended_gpu(part, env):
    "The tests of a file, in a process that believes in the device."
    options = '-q', '--no-header', '--tb=short', '-p', 'no:cacheprovider'
    run(sys.executable, '-m', 'pytest', *options, HERE/f'{part}.py', FLAGS=' '.join(FLAGS), **env)

if __name__ == '__main__':
    import os
    import tempfile
    if obstacle(): sys.exit(f'no pretended GPU: {obstacle()}')
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | build(Path(folder)) | {'OMP_NUM_THREADS': '1'}
        sys.exit(start([sys.executable, HERE/'launches.py'], env=env).returncode)
