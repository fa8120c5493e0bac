"""What does not fit in memory need not: a hundred thousand JPEGs are read once each, and neither
they nor a long training make the process grow."""
import gc
import io
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
import numpy as np
import pytest
import torch
from PIL import Image
from conftest import slow
from sgn_nb.base.parallel import available_cores
from sgn_nb.data.batches import Augment, Batches
from sgn_nb.data.examples import Data, from_arrays
from sgn_nb.data.streamed import examples_from_list, toy_clothing1m
from sgn_nb.methods.registry import METHODS
from sgn_nb.nets import net_maker
from sgn_nb.spec import Optimisation
from sgn_nb.training.loop import fit, make_accelerator

N, K = 100_000, 100
has_proc = Path('/proc/self/status').exists()
pytestmark = [slow, pytest.mark.skipif(not has_proc, reason='reads memory in /proc')]

def resident(*pids):
    "MB that processes hold."
    def kilobytes(pid):
        lines = Path(f'/proc/{pid}/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS'))
    return sum(map(kilobytes, pids))/1024

def workers():
    "The processes that this one has started."
    threads = Path('/proc/self/task').iterdir()
    return [int(pid) for t in threads for pid in (t/'children').read_text().split()]

def is_running(pid):
    "Is there such a process, and is it more than an entry in a table?"
    try: status = Path(f'/proc/{pid}/stat').read_text()
    except OSError: return False
    return status.rpartition(')')[2].split()[0] not in 'ZX'

def jpeg(rng):
    "The bytes of a small image that nobody has seen before."
    f = io.BytesIO()
    Image.fromarray(rng.integers(256, size=(40, 40, 3), dtype=np.uint8)).save(f, 'jpeg')
    return f.getvalue()

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A folder for each class; three hundred different images under a hundred thousand names."
    path = tmp_path_factory.mktemp('many')
    rng = np.random.default_rng(0)
    images = [jpeg(rng) for _ in range(300)]
    for k in range(K): (path/str(k)).mkdir()
    for n in range(N): (path/f'{n%K}/{n}.jpg').write_bytes(images[n%300])
    return path

def one_epoch(folder):
    """Looks at every image once: the ids in the order they came, MB held at each batch, images a
    second, and by how many workers."""
    labels = {f'{n%K}/{n}.jpg': n%K for n in range(N)}
    examples, n_bad = examples_from_list(folder, labels, 32, 36, 'the list')
    assert not n_bad
    data = Data('many', K, examples, mean=torch.full((3,), .5), std=torch.full((3,), .3))
    batches = Batches(data, examples, 500, seed=0, augment=Augment(flip=True))
    ids, memory = [], []
    start = time.perf_counter()
    for x,y,i in batches:
        assert x.shape == (500, 3, 32, 32) and torch.equal(y, i % K)
        ids += i.tolist()
        memory.append(resident(os.getpid(), *workers()))
    rate = N/(time.perf_counter() - start)
    return ids, memory, rate, batches.inputs.workers

def test_a_hundred_thousand_files(folder, capsys, monkeypatch):
    """Every image comes once, with its own label; memory at the end of the epoch is what it was
    near its beginning. In a process that has held nothing else, and whose C library gives a
    tensor's memory back at once: what it holds is what is in use."""
    monkeypatch.setenv('MALLOC_MMAP_THRESHOLD_', '1000000')
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as fresh:
        ids, memory, rate, n_workers = fresh.submit(one_epoch, folder).result()
    with capsys.disabled():
        print(f' {rate:,.0f} images/s from {n_workers} workers, {memory[-1]:,.0f} MB', end='')
    assert n_workers == min(8, available_cores())
    assert sorted(ids) == list(range(N))
    third = len(memory)//3
    assert median(memory[-third:]) < 1.05*median(memory[:third]), memory[::10]

READS = '''
import os, sys, signal
from pathlib import Path
import torch
import sgn_nb.data.streamed as streamed
from sgn_nb.data.batches import Batches, evaluation_batches
from test_streamed import workers
data = streamed.clothing1m(Path(sys.argv[1]), size=32, counts=None)
train = Batches(data, data.train, 20, seed=0)
test = evaluation_batches(data, data.test)
train.inputs.workers = test.inputs.workers = 2
for x in train.epoch(0): pass
for x in test: pass
for n, x in enumerate(train.epoch(1)):
    if n: continue
    print(*workers(), flush=True)
    if sys.argv[2] == 'error': raise ValueError('a step that fails')
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
'''

@pytest.mark.parametrize('end', ['error', 'SIGINT', 'SIGTERM', 'SIGKILL'])
def test_workers_end_with_the_program(end, tmp_path):
    "However it ends, in the middle of an epoch; and there were two of them for two splits."
    toy_clothing1m(tmp_path)
    (tmp_path/'reads.py').write_text(READS)
    here = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    program = [sys.executable, tmp_path/'reads.py', tmp_path, end]
    p = subprocess.run(program, env=os.environ | {'PYTHONPATH': here}, capture_output=True,
                       text=True, timeout=300)
    assert p.returncode
    pids = [int(pid) for pid in p.stdout.split()]
    assert len(pids) == 2, p.stderr
    deadline = time.monotonic() + 30                # workers look after their parent now and then
    while alive := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(.2)

def test_a_thousand_steps():
    """After two hundred steps of SGN and after a thousand: the same number of tensors, and no more
    memory."""
    y = torch.arange(200) % 5
    data = from_arrays(torch.randn(200, 8), y, K=5)
    settings = METHODS['sgn'].resolve(50, 1000)
    method = METHODS['sgn'](net_maker('mlp', (8,)), 5, y, **settings)
    held = {}                                       # epoch -> number of tensors, MB
    def look(row):
        if row['epoch'] not in (9, 49): return
        gc.collect()
        n_tensors = sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())
        held[row['epoch']] = n_tensors, resident(os.getpid())
    train = Batches(data, data.train, 10, seed=0)
    fit(method, train, {}, Optimisation(epochs=50), make_accelerator('cpu'), on_epoch=look)
    (early, early_memory), (late, late_memory) = held[9], held[49]
    assert early == late
    assert late_memory < early_memory + 2
