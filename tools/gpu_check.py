"""Does everything run on a GPU, and does it compute what a CPU computes? About five minutes on a
large one; the last line is `N passed, N failed`. `--device cpu` rehearses it without a GPU."""
import argparse
import copy
import math
import os
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import lru_cache, partial
from io import StringIO
from pathlib import Path
from unittest import mock
import torch
from gpu_cases import (
    Cases, add_options, check_device, machine, make_method, noise_data, some_of,
    training_batches)
from sgn_nb.apps.classifier import SGNClassifier
from sgn_nb.data.batches import Augment, Batches, evaluation_batches
from sgn_nb.data.sources import load_data
from sgn_nb.data.streamed import clothing1m, toy_clothing1m
from sgn_nb.experiments.grids import plan_runs, run_grid
from sgn_nb.experiments.plans import grid
from sgn_nb.experiments.runner import run, run_together
from sgn_nb.methods.registry import METHODS
from sgn_nb.spec import Optimisation, Spec
from sgn_nb.training.checkpoint import Checkpoint
from sgn_nb.training.loop import compile_networks, fit, is_compiled, make_accelerator

NETS = 'small_cnn', 'fast_cnn', 'wrn10_1'
RANDOM = 'nan', 'het'                                  # draw numbers in every step
FEW = 'ce', 'sgn', 'coteaching'                        # in fp16
STATEFUL = 'sgn', 'elr', 'nal', 'sop', 'nan', 'coteaching', 'het'
SHORT = {'het': {'S': 200}, 'coteaching': {'warm_up': 1.}}           # settings for short runs


@dataclass(frozen=True)
class Setup:
    "What the cases of a part are made for."
    device:str
    methods:tuple

    def those(self, names): return [name for name in names if name in self.methods]

    def half(self, names):
        "Precision and method: all of them in bf16, a few in fp16, which a CPU hardly has."
        few = self.those(FEW) if self.device == 'cuda' else []
        return [('bf16', name) for name in names] + [('fp16', name) for name in few]

@contextmanager
def exact():
    """No TF32, which convolutions use unless told otherwise; no algorithm that adds in any
    order."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, cudnn.deterministic = False, True
    try: yield
    finally: cudnn.allow_tf32, cudnn.deterministic = before

@contextmanager
def comparable():
    "Exact, and normal draws come from the CPU, whatever the device."
    plain = torch.randn
    def draw(*shape, device=None, **options): return plain(*shape, **options).to(device or 'cpu')
    with exact(), mock.patch('torch.randn', draw): yield

def make_toy(name, data, net='fast_cnn', epochs=2, steps=20, **settings):
    "A method with the same weights every time."
    return make_method(name, data, net, epochs, steps, **SHORT.get(name, {}) | settings)

def distance(a, b):
    "Of two numbers, relative to the first where that is large."
    return abs(a-b)/max(1, abs(a))

def check_close(what, off, limit):
    assert off < limit, f'{what}: off by {off:.2g}, at most {limit:g} is allowed'

def train(method, data, device, precision='fp32', optimisation=None, drop_last=True, mixup=False,
          **options):
    "The last row of a short training by `fit`, scored on two splits; and was it a graph?"
    batches = training_batches(data, device, drop_last=drop_last, mixup=mixup)
    evals = {'val': evaluation_batches(data, data.val, device=device),
             'test': evaluation_batches(data, data.test, device=device)}
    optimisation = optimisation or Optimisation(epochs=2, lr=.01)
    accelerator = make_accelerator(device, precision)
    result = fit(method, batches, evals, optimisation, accelerator, **options)
    return result['curve'][-1] | {'graph': result['graph']}


# The same loss and the same gradient as on the CPU, there in double precision

def parity(setup):
    return {f'{net} {name}': partial(check_parity, setup.device, net, name)
            for net in NETS for name in setup.methods}

def check_parity(device, net, name):
    data = noise_data()
    method = make_toy(name, data, net)
    loss, gradient = loss_and_gradient(method, data, 'cpu', torch.float64)
    there_loss, there = loss_and_gradient(method, data, device, torch.float32)
    off = (there - gradient).norm()/gradient.norm()
    check_close('loss', distance(loss, there_loss), 1e-4)
    check_close('gradient', off.item(), 5e-3)
    return off.item()

def loss_and_gradient(method, data, device, dtype):
    "Of the first batch; the method stays as it was."
    with comparable():
        method = copy.deepcopy(method).to(device, dtype).train()
        x, y, i = next(iter(training_batches(data, device)))
        torch.manual_seed(0)
        loss = method(x.to(dtype), y, i, 1.5).loss
        loss.backward()
        method.after_step()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    return loss.item(), torch.cat([g.flatten().double().cpu() for g in gradients])


# No step waits for the device

def no_waiting(setup):
    cases = {f'{precision} {name}': partial(check_no_waiting, setup.device, precision, name)
             for precision in ('fp32', 'bf16')           # the scaler of fp16 must look at a number
             for name in setup.methods}
    if 'sgn' not in setup.methods: return cases
    sgn = partial(check_no_waiting, setup.device, 'bf16', 'sgn')
    return cases | {'sgn with mixup': partial(sgn, mixup=True),
                    'sgn with beta_warmup': partial(sgn, beta_warmup=True),
                    'sgn as a graph': partial(sgn, graph=True)}

def check_no_waiting(device, precision, name, mixup=False, graph=False, **settings):
    "In an epoch of `fit`, without a look at the device before the epoch is over."
    data = noise_data()
    watch = NoWaiting(device, len(training_batches(data, device)))
    method, optimisation = make_toy(name, data, **settings), Optimisation(epochs=1, lr=.01)
    options = {'mixup': mixup, 'graph': graph, 'observers': [watch]}
    try: train(method, data, device, precision, optimisation, **options)
    finally: watch.mode('default')
    assert watch.steps == watch.last

class NoWaiting:
    "An observer: once the first steps have set up the libraries, whatever waits raises."
    def __init__(self, device, steps):
        self.device, self.steps, self.last = device, 0, steps

    def mode(self, word):
        "A CPU never waits."
        if self.device == 'cuda': torch.cuda.set_sync_debug_mode(word)

    def observe(self, step, y, i, epoch):
        self.steps += 1
        if self.steps == 8: self.mode('error')
        if self.steps == self.last: self.mode('default')

    def end_epoch(self): return {}


# Trainings: as on the CPU in fp32, near it in half precision

def curves(setup):
    runs = [('fp32', name) for name in setup.methods] + setup.half(setup.methods)
    return {f'{precision} {name}': partial(check_curve, setup.device, precision, name)
            for precision, name in runs}

@lru_cache(maxsize=None)
def last_row(name, device, precision):
    "Of a short training."
    data = noise_data()
    with comparable(): return train(make_toy(name, data), data, device, precision)

def check_curve(device, precision, name):
    here = last_row(name, 'cpu', 'fp32')
    there = last_row(name, device, precision)
    assert here.keys() == there.keys(), 'the curves have other figures'
    assert math.isfinite(there['loss']), f"the loss is {there['loss']}"
    off = distance(here['loss'], there['loss'])
    check_close('loss', off, .02 if precision == 'fp32' else .15)
    return off


# Stopped and taken up again: as near to an undisturbed training as a repeated one

def resume(setup):
    runs = [('fp32', name) for name in setup.those(STATEFUL)] + setup.half(setup.those(FEW))
    return {f'{precision} {name}': partial(check_resume, setup.device, precision, name)
            for precision, name in runs}

class Stop(Exception): "Ends a training after its second epoch."

def stop(row):
    if row['epoch'] == 1: raise Stop

def check_resume(device, precision, name):
    with tempfile.TemporaryDirectory() as folder, comparable():
        def weights(file, on_epoch=None):
            return trained_weights(device, precision, name, f'{folder}/{file}', on_epoch)
        whole, repeated = weights('a'), weights('b')
        try: weights('c', stop)
        except Stop: resumed = weights('c')
    noise = largest_distance(whole, repeated)
    off = largest_distance(whole, resumed)
    check_close(f'weights, {noise:.1g} where it is repeated', off, 10*noise + 1e-3)
    return off

def trained_weights(device, precision, name, path, on_epoch):
    "After three epochs; the checkpoint is written after almost every step."
    data = noise_data()
    method = make_toy(name, data, epochs=3)
    optimisation = Optimisation(epochs=3, lr=.01)
    train(method, data, device, precision, optimisation, checkpoint=Checkpoint(path, every=.02),
          on_epoch=on_epoch)
    return {k: v.cpu().double() for k, v in method.state_dict().items() if v.is_floating_point()}

def largest_distance(a, b):
    "Of the tensors of two states, each relative to its length."
    return max(((a[k] - b[k]).norm()/(a[k].norm() + 1e-12)).item() for k in a)


# Compiled, and as one graph: the plain loss, and no word of having fallen back

def compiled(setup):
    pieces = Optimisation(epochs=2, lr=.01, accumulate=2)
    cases = {}
    if 'sgn' in setup.methods:
        sgn = partial(check_compiled, setup.device, 'sgn')
        cases = {'sgn': sgn, 'sgn in pieces': partial(sgn, optimisation=pieces),
                 'sgn with a short last batch': partial(sgn, drop_last=False)}
    return cases | {name: partial(check_compiled, setup.device, name)
                    for name in setup.those(('nal', 'ce', 'ln', 'coteaching'))}

def check_compiled(device, name, **options):
    "The compiler's limit leaves a network as it is with a word in a log: here it raises."
    data = noise_data()
    def method(): return make_toy(name, data, 'small_cnn')
    with comparable(), no_fallback():
        plain = train(method(), data, device, 'bf16', **options)
        with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
            fast = compile_networks(method().to(device))
            there = train(fast, data, device, 'bf16', **options)
    assert is_compiled(fast), 'the networks run as they are'
    return check_same_loss(plain, there, .1)

@contextmanager
def no_fallback():
    "A warning that something runs without compiler or graph is an error."
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        yield

def check_same_loss(plain, there, limit):
    "How far the losses of two rows are apart."
    off = distance(plain['loss'], there['loss'])
    check_close(f"loss {there['loss']:.4g} instead of {plain['loss']:.4g}", off, limit)
    return off

def graph(setup):
    return {name: partial(check_graph, setup.device, name) for name in setup.methods}

def check_graph(device, name):
    data = noise_data()
    with exact(), no_fallback():
        plain = train(make_toy(name, data), data, device)
        there = train(make_toy(name, data), data, device, graph=True)
    assert there['graph'] == (device == 'cuda'), 'no step was replayed'
    return check_same_loss(plain, there, .1 if name in RANDOM else .01)

def together(setup):
    sgn = 'sgn' if 'sgn' in setup.methods else setup.methods[0]
    mixed = setup.those(('ce', 'elr', 'sgn', 'nal'))
    return {'seeds': partial(check_together, setup.device, [(sgn, seed) for seed in range(4)]),
            'methods': partial(check_together, setup.device, [(name, 0) for name in mixed])}

def check_together(device, runs):
    "Runs in one graph have the curves that they have alone."
    specs = [toy_spec(method=name, seed=seed) for name, seed in runs]
    with tempfile.TemporaryDirectory() as folder, exact(), no_fallback():
        alone = [run(spec, f'{folder}/alone', device) for spec in specs]
        joint = run_together(specs, f'{folder}/together', device)
    for result in joint:
        if isinstance(result, Exception): raise result
    pairs = zip(alone, joint, strict=True)
    return max(check_same_loss(a.curve[-1], b.curve[-1], .01) for a, b in pairs)

def toy_spec(**fields):
    "A run of seconds, on digits."
    return Spec(**{'epochs': 2, 'n_train': 400, 'val_share': .2} | fields)


# The front doors

def doors(setup):
    cases = {'run': check_run, 'run as a graph': check_run_as_graph,
             'classifier': check_classifier, 'images from the disk': check_streamed,
             'a grid': check_grid, 'sgn_train': check_train_command,
             'sgn_grid': check_grid_command, 'sgn_bench': check_bench_command}
    return {name: partial(check, setup.device) for name, check in cases.items()}

def check_run(device):
    "A record that names the device, found again by a second call."
    with tempfile.TemporaryDirectory() as folder:
        record = run(toy_spec(watch=3), folder, device)
        assert device in record.env['device'], record.env
        assert run(toy_spec(watch=3), folder, device).curve == record.curve

def check_run_as_graph(device):
    with tempfile.TemporaryDirectory() as folder, no_fallback():
        record = run(toy_spec(), folder, device, graph=True)
    assert record.env.get('graph', False) == (device == 'cuda'), record.env

def check_classifier(device):
    "Saved and loaded, it predicts the same."
    digits = load_data('digits').train
    x, y = digits.x[:500].numpy(), digits.y[:500].numpy()
    clf = SGNClassifier(epochs=2, device=device, val_share=.2).fit(x, y)
    with tempfile.TemporaryDirectory() as folder:
        clf.save(f'{folder}/clf.safetensors')
        again = SGNClassifier.load(f'{folder}/clf.safetensors')
    off = abs(clf.predict_proba(x[:50]) - again.predict_proba(x[:50])).max()
    check_close('probabilities of the loaded classifier', off, 1e-2)

def check_streamed(device):
    "JPEGs: on a GPU enough of them that worker processes decode, while it trains."
    with tempfile.TemporaryDirectory() as folder:
        toy_clothing1m(folder, 150 if device == 'cuda' else 10)
        photos = clothing1m(folder, 64, counts=None)
        batches = Batches(photos, photos.train, 32, 0, True, Augment(flip=True), device)
        evals = {'val': evaluation_batches(photos, photos.val, 28, device)}
        method = make_toy('elr', photos, 'resnet50_scratch', 1, 8)
        precision = 'bf16' if device == 'cuda' else 'fp32'
        accelerator = make_accelerator(device, precision)
        curve = fit(method, batches, evals, Optimisation(epochs=1, lr=.01), accelerator)['curve']
    assert math.isfinite(curve[-1]['loss']), curve

def check_grid(device):
    "Two worker processes share the GPU."
    axes = {'method': ['ce', 'sgn'], 'seed': [0, 1], 'epochs': 2, 'n_train': 400}
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):       # no bar
        counts = run_grid(plan_runs(grid(**axes)), folder, 2, device)
    assert counts['recorded'] == 4, counts

def command(name, *words):
    "What a command prints; one that fails says why."
    code = f'from sgn_nb.apps.cli import main_{name}; main_{name}()'
    env = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
    arguments = [sys.executable, '-c', code, *map(str, words)]
    p = subprocess.run(arguments, capture_output=True, text=True, env=env)
    assert p.returncode == 0, p.stdout[-1000:] + p.stderr[-2000:]
    return p.stdout

def check_train_command(device):
    words = '--epochs', 2, '--n-train', 400, '--device', device
    with tempfile.TemporaryDirectory() as folder:
        command('train', *words, '--out', folder)
        assert [*Path(folder).glob('*.json')]

def check_grid_command(device):
    "Four runs in one graph; on a CPU one after the other."
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'toy.toml'
        file.write_text('epochs = 2\nn_train = 400\nmethod = ["ce", "sgn"]\nseed = [0, 1]\n')
        words = '--graph', '--runs-per-gpu', 4, '--device', device, '--out', f'{folder}/runs'
        command('grid', file, *words)
        assert len([*Path(f'{folder}/runs').glob('*.json')]) == 4

def check_bench_command(device):
    printed = command('bench', '--quick', '--methods', 'ce,sgn', '--device', device)
    assert 'goal' in printed, printed


PARTS = {part.__name__: part for part in (parity, no_waiting, graph, together, curves, resume,
                                          doors, compiled)}

def summary(results):
    "The largest of what cases of a part were off by."
    numbers = [v for v in results.values() if v is not None]
    return f', off by {max(numbers):.1g} at most' if numbers else ''

def check_part(part, setup, cases):
    "All cases of a part, and a line that says how it went."
    start, failed = cases.spent(), len(cases.failed)
    results = dict(cases.results(part, PARTS[part](setup)))
    seconds, failed = cases.spent() - start, len(cases.failed) - failed
    failures = f', {failed} FAILED' if failed else ''
    print(f'{part:10} {len(results)} passed{failures}{summary(results)}, {seconds:.0f} s',
          flush=True)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    add_options(p, 340, PARTS)
    p.add_argument('--methods', type=some_of(METHODS), default=tuple(METHODS))
    options = p.parse_args()
    check_device(options.device, 'checked')
    print(*(f'{k} {v}' for k, v in machine(options.device).items()), sep=', ', flush=True)
    setup, cases = Setup(options.device, options.methods), Cases(options.seconds)
    for part in options.parts: check_part(part, setup, cases)
    cases.finish()

if __name__ == '__main__': main()
