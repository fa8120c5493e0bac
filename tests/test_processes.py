"""Two processes that share the batches compute what one does, for every method; a killed one ends
both, and any number goes on."""
import json
import os
import subprocess
import sys
import pytest
import torch
from conftest import BIN, posix, slow
from sgn_nb.data.batches import Augment, Batches, Mixup, evaluation_batches
from sgn_nb.data.examples import corrupt, split
from sgn_nb.data.sources import load_data
from sgn_nb.methods.registry import METHODS
from sgn_nb.nets import net_maker
from sgn_nb.spec import Optimisation
from sgn_nb.training.loop import fit, make_accelerator

pytestmark = [posix, slow]

ALL = list(METHODS)
MIXED = ['ce', 'sop', 'coteaching', 'sgn']
PROGRAM = '''
import sys
import torch
from test_processes import ALL, METHODS, MIXED, train
from sgn_nb.nets import net_maker
from sgn_nb.base.distributed import all_gather, rank, world_size
from sgn_nb.training.checkpoint import average_statistics
from sgn_nb.training.loop import make_accelerator
make_accelerator('cpu')
assert world_size() == 2
results = {}
for name in ALL:
    for mixed in (False, True)[:1 + (name in MIXED)]:
        weights, curve = results[name, mixed] = train(name, mixed)
        for k, v in weights.items():  # the other process has the same weights and memories
            a, b = all_gather(v[None])
            assert torch.equal(a, b), f'{name}: {k}'
norms = METHODS['sgn'](net_maker('mlp', (4,)), 3, [0, 1, 2])
for k, v in norms.named_buffers():
    if 'running' in k: v.fill_(rank())
average_statistics(norms)  # each process's own: their mean, the average network's too
assert {v.unique().item() for k, v in norms.named_buffers() if 'running' in k} == {.5}
for k, v in train('sgn', net='mlp')[0].items():
    a, b = all_gather(v[None])
    assert torch.equal(a, b), f'with batch normalisation: {k}'
if rank() == 0: torch.save(results, sys.argv[1])
'''

def plain(n_out):
    "A network without batch normalisation."
    hidden = torch.nn.Linear(64, 32), torch.nn.ReLU()
    return torch.nn.Sequential(torch.nn.Flatten(), *hidden, torch.nn.Linear(32, n_out))

def train(name, mixed=False, net=None, epochs=2):
    "Weights and curve of a small training; 168 examples in batches of 32, and one of 8."
    data = corrupt(load_data('digits'), 'sym-0.4', seed=0)
    data = split(data, seed=0, n_train=188, val_share=20/188)
    assert (len(data.train), len(data.val)) == (168, 20)
    batches = Batches(data, data.train, 32, seed=0, augment=Augment(pad=1))
    evals = {'val': evaluation_batches(data, data.val, 7),
             'test': evaluation_batches(data, data.test, 359)}  # the last holds a single example
    settings = METHODS[name].resolve(epochs, epochs*len(batches))
    make_net = net_maker(net, (1, 8, 8)) if net else plain
    torch.manual_seed(0)
    method = METHODS[name](make_net, data.K, data.train.y, **settings)
    if name in ('coteaching', 'dividemix'): method.settings.warm_up = 1.  # of two epochs
    optimisation = Optimisation(epochs=epochs, lr=.02, eval_share=1)
    for stage in method.stages(batches.sequential(50)):
        examples = Mixup(batches, data.K) if mixed else batches
        results = fit(stage, examples, evals, optimisation, make_accelerator('cpu'))
    return {k: v.cpu() for k, v in method.state_dict().items()}, results['curve']

def launch(*args, n=2, **env):
    "Start `n` processes as a user would."
    paths = [os.path.dirname(__file__), os.environ.get('PYTHONPATH')]
    quiet = {'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore', 'GLOO_SOCKET_IFNAME': 'lo',
             'PYTHONPATH': os.pathsep.join(filter(None, paths))}
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    p = subprocess.Popen([*torchrun, '--nproc-per-node', str(n), *map(str, args)], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env=os.environ | quiet | env)
    return p, p.communicate(timeout=500)[0]

@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    "What two processes computed, method by method."
    tmp = tmp_path_factory.mktemp('two')
    (tmp/'two.py').write_text(PROGRAM)
    p, output = launch(tmp/'two.py', tmp/'results.pt')
    assert p.returncode == 0, output
    return torch.load(tmp/'results.pt', weights_only=True)

def is_compared(key):
    "Counts in bins, and bits, jump where a number next to an edge moves in its last digit."
    return not any(word in key for word in ('/bins', '_bins/', '_right/'))

@pytest.mark.parametrize('name, mixed', [(n, False) for n in ALL] + [(n, True) for n in MIXED])
def test_two_processes_compute_what_one_does(shared, name, mixed):
    "Weights, memories and curve, whatever a method remembers or draws, with mixed images too."
    (weights, curve), (weights1, curve1) = shared[name, mixed], train(name, mixed)
    for k, v in weights1.items():
        torch.testing.assert_close(weights[k], v, rtol=1e-5, atol=1e-5,
                                   msg=lambda m: f'{name}, {k}: {m}')
    for a, b in zip(curve, curve1, strict=True):
        assert a.keys() == b.keys()
        for k in filter(is_compared, b):
            assert a[k] == pytest.approx(b[k], rel=1e-5, abs=1e-5), (name, a['epoch'], k)
    if name in ('elr', 'nal'):
        start = METHODS[name](plain, 10, [0]*168).memory
        assert (weights1['memory'] != start).any(1).all()  # each example was remembered

SPEC = '--n-train 300 --epochs 12 --net mlp --batch 30 --method elr --device cpu'.split()

def sgn_train(out, n, **env):
    return launch('--no-python', sys.executable, '-c', TRAIN, *SPEC, '--out', out, n=n, **env)

TRAIN = '''
import os, signal, sys
from sgn_nb.apps import cli
from sgn_nb.experiments import runner
from sgn_nb.base.distributed import rank
steps, Checkpoint = runner.fit.steps, runner.Checkpoint
def die(row):
    last = int(os.environ.get('DIE_AFTER', -1))
    if rank() == 1 and row['epoch'] == last: os.kill(os.getpid(), signal.SIGKILL)
runner.Checkpoint = lambda *args: Checkpoint(*args, every=0)
runner.fit.steps = lambda *args, **options: steps(*args, **options | {'on_epoch': die})
cli.main_train(sys.argv[1:])
'''

def record(out):
    path, = out.glob('*.json')
    return json.loads(path.read_text())

def near(a, b):
    "Equal, numbers nearly."
    if isinstance(a, dict): return a.keys() == b.keys() and all(near(a[k], b[k]) for k in a)
    if isinstance(a, list): return len(a) == len(b) and all(map(near, a, b))
    return a == pytest.approx(b, rel=1e-3, abs=1e-3) if isinstance(a, float) else a == b

def test_a_killed_process_ends_the_run_which_goes_on(tmp_path):
    "The other one does not wait for ever; two or one take it up where its checkpoint was."
    p, output = sgn_train(tmp_path/'undisturbed', 2)
    assert p.returncode == 0, output
    assert output.count('Record') == 1  # one of them writes and speaks
    assert len(list((tmp_path/'undisturbed').glob('*.tmp'))) == 0
    whole = record(tmp_path/'undisturbed')
    assert whole['env']['processes'] == 2
    for n, out in (2, tmp_path/'two'), (1, tmp_path/'one'):
        p, output = sgn_train(out, 2, DIE_AFTER='5')
        assert p.returncode != 0 and not list(out.glob('*.json')), output
        # the last one was written after 40 steps of 9 an epoch
        assert torch.load(next(out.glob('*.ckpt')))['epoch'] == 4
        p, output = sgn_train(out, n)
        assert p.returncode == 0, output
        resumed = record(out)
        for k in ('id', 'spec', 'labels', 'pixels'): assert resumed[k] == whole[k]
        if n == 2: assert near(resumed['curve'], whole['curve'])
        else:  # batch normalisation sees whole batches now
            assert resumed['env']['processes'] == 1
            assert len(resumed['curve']) == len(whole['curve'])

def test_two_processes_stop_in_time(tmp_path):
    "One of them says what to type; the checkpoint is there, and one process alone goes on from it."
    limited = ['--out', tmp_path, '--seconds', '.01']
    p, output = launch('--no-python', BIN/'sgn_train', *SPEC, *limited)
    assert p.returncode != 0 and output.count('The same command goes on from there') == 1, output
    state = torch.load(next(tmp_path.glob('*.ckpt')))
    assert (state['epoch'], state['step']) == (2, 2)  # they ask the clock every 20 steps, of 9
    p, output = sgn_train(tmp_path, 1)
    assert p.returncode == 0, output
    assert len(record(tmp_path)['curve']['epoch']) == 12

LEAVES = '''
import atexit, sys
import torch.distributed as dist
def report(): print('still in' if dist.is_initialized() else 'left', file=sys.stderr)
atexit.register(report)  # runs after the package's own, which is registered later
from sgn_nb.base.distributed import all_reduce_sum, rank
from sgn_nb.training.loop import make_accelerator
import torch
make_accelerator('cpu'); all_reduce_sum(torch.ones(1))
assert rank() == 0 or len(sys.argv) == 1, 'a bad end'
'''

def test_a_program_leaves_its_group_however_it_ends(tmp_path):
    "Whoever stays in it would make the others wait, or torch complain."
    (tmp_path/'leaves.py').write_text(LEAVES)
    p, output = launch(tmp_path/'leaves.py')
    assert p.returncode == 0 and output.count('left') == 2, output
    p, output = launch(tmp_path/'leaves.py', 'badly')
    assert p.returncode != 0 and 'a bad end' in output and 'left' in output, output
    assert 'still in' not in output and 'SIGABRT' not in output, output

WAITS = '''
import torch
from torch.distributed.distributed_c10d import _get_default_group
from sgn_nb.base.distributed import PATIENCE, barrier, world_size
from sgn_nb.training.loop import make_accelerator
make_accelerator('cpu')
assert world_size() == 2
options = _get_default_group()._get_backend(torch.device('cpu')).options
assert options._timeout == PATIENCE, options._timeout
barrier()  # nobody leaves before the other has come
'''

def test_processes_wait_while_one_prepares(tmp_path):
    "Two hours: ten minutes, the usual on GPUs, are too short to download or to look at all files."
    (tmp_path/'waits.py').write_text(WAITS)
    p, output = launch(tmp_path/'waits.py')
    assert p.returncode == 0, output

def test_what_cannot_be_shared_is_said_at_once(tmp_path):
    "A batch that is no multiple of the processes, and an environment that is not complete."
    batch = ['--batch', '25', '--n-train', '300', '--out', tmp_path]
    p, output = launch('--no-python', sys.executable, '-c', TRAIN, *batch)
    assert p.returncode != 0 and 'batch must be a multiple of the 2 processes, got 25' in output
    assert not list(tmp_path.glob('*'))
    p = subprocess.run([sys.executable, '-c', TRAIN, '--out', tmp_path], text=True,
                       env=os.environ | {'RANK': '0', 'WORLD_SIZE': '2'}, capture_output=True)
    assert p.returncode == 2
    missing = 'LOCAL_RANK, MASTER_ADDR, MASTER_PORT is missing beside RANK, WORLD_SIZE'
    assert missing in p.stderr
