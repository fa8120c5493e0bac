"""What a training step takes on a GPU, what limits it and what lifts the limit: about four minutes
on a large one, then a record in records/speed/. The last line is `N passed, N failed`.
`--device cpu` rehearses it without a GPU."""
import argparse
import json
import re
import time
import warnings
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
import torch
from gpu_cases import (
    Cases, add_options, check_device, free_memory, machine, make_method, noise_data,
    training_batches)
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from sgn_nb.base.files import atomic_write
from sgn_nb.bench import copy_peak, matmul_peak, step_flops, step_job
from sgn_nb.experiments.records import environment, rounded
from sgn_nb.methods.registry import METHODS
from sgn_nb.spec import Optimisation
from sgn_nb.training.loop import compile_networks, fit, fit_together, make_accelerator

ROOT = Path(__file__).resolve().parent.parent
RUN_STEPS = {'wrn28_2': 600*351, 'fast_cnn': 60*360}     # of the paper's run, and of `images`
PAIR = 'ce', 'sgn'


@dataclass(frozen=True)
class Sizes:
    "How much is measured."
    batch:int        # examples a step
    steps:int        # of an epoch
    epochs:int       # the first two do not count
    matrix:int|None  # rows of the product; None: what the device needs
    copy:int|None    # MB of the copy; None: what the device needs
    nets:tuple
    methods:tuple
    runs:tuple       # numbers of runs in one graph
    precision:str

LARGE = Sizes(128, 100, 5, None, None, ('wrn28_2', 'fast_cnn'), tuple(METHODS), (2, 4, 8), 'bf16')
TINY = Sizes(8, 3, 4, 128, 1, ('small_cnn',), PAIR, (2,), 'fp32')


# The machine's limits

def limits(device, sizes):
    peak = partial(matmul_peak, device=device, n=sizes.matrix)
    precisions = dict.fromkeys(('fp32', sizes.precision))
    products = {p: partial(peak, p) for p in precisions}
    return products | {'copy': partial(copy_peak, device, sizes.copy)}


# Trainings by `fit`: milliseconds a step, everything included

@dataclass(frozen=True)
class Way:
    "What is trained, and how."
    net:str
    method:str
    how:str        # `plain`, `graph`, `compiled` or `compiled graph`
    runs:int       # side by side, in one graph
    precision:str

    def __str__(self):
        many = f'{self.runs} x ' if self.runs > 1 else ''
        return f'{self.net} {many}{self.method} {self.how} {self.precision}'

def graphs(device, sizes):
    "The step as one graph, and several runs in one."
    ways = [Way(net, m, 'graph', 1, sizes.precision) for net in sizes.nets for m in PAIR]
    ways += [Way(net, 'sgn', 'graph', n, sizes.precision)
             for net in sizes.nets for n in sizes.runs]
    return cases_of(ways, device, sizes)

def plain(device, sizes):
    "The step as it is, launched operation by operation."
    precisions = dict.fromkeys((sizes.precision, 'fp32'))
    ways = [Way(net, m, 'plain', 1, p) for net in sizes.nets for m in PAIR for p in precisions]
    return cases_of(ways, device, sizes)

def methods(device, sizes):
    "All of them, as one graph."
    others = [m for m in sizes.methods if m not in PAIR]
    ways = [Way(sizes.nets[0], m, 'graph', 1, sizes.precision) for m in others]
    return cases_of(ways, device, sizes)

def compiled(device, sizes):
    "Fused by the compiler, and that as one graph."
    ways = [Way(net, 'sgn', how, 1, sizes.precision)
            for net in sizes.nets for how in ('compiled graph', 'compiled')]
    return cases_of(ways, device, sizes)

def cases_of(ways, device, sizes):
    return {str(way): partial(measure, way, device, sizes) for way in ways}

def measure(way, device, sizes):
    "A row of the record."
    if device == 'cuda':
        free_memory()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    marks = train(way, device, sizes)
    laps = [b - a for a, b in zip(marks, marks[1:])]
    seconds = median(laps[1:])/sizes.steps
    flops = step_flops(way.method, way.net)*sizes.batch*way.runs
    row = {**asdict(way), 'step_ms': 1e3*seconds, 'run_ms': 1e3*seconds/way.runs,
           'tflops': flops/seconds/1e12, 'ready_s': marks[0] - start}
    if device == 'cuda': row['gpu_mb'] = torch.cuda.max_memory_allocated()//2**20
    if way.net in RUN_STEPS: row['runs_an_hour'] = 3.6e6/RUN_STEPS[way.net]/row['run_ms']
    return row

def train(way, device, sizes):
    "When each epoch of a training, or of the last of several, ended."
    marks = []
    def on_epoch(row): marks.append(time.perf_counter())
    graph = 'graph' in way.how
    accelerator = make_accelerator(device, way.precision)
    trainings = [training(way, device, sizes, seed) for seed in range(way.runs)]
    *others, last = [(*t, accelerator) for t in trainings]
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)              # no graph, or no compiler
        if not others: results = [fit(*last, on_epoch=on_epoch, graph=graph)]
        else:
            begun = [fit.begin(*t) for t in others]
            results = fit_together([*begun, fit.begin(*last, on_epoch=on_epoch)])
    for result in results:
        if isinstance(result, Exception): raise result
        assert result['graph'] == (graph and device == 'cuda'), 'no step was replayed'
    return marks

def training(way, device, sizes, seed):
    "Method, batches, nothing to score, and how it is optimised."
    data = noise_data(sizes.steps*sizes.batch + 40, 32)
    method = make_method(way.method, data, way.net, 600, 351, seed).to(device)
    if 'compiled' in way.how: compile_networks(method)
    batches = training_batches(data, device, sizes.batch, seed)
    return method, batches, {}, Optimisation(epochs=sizes.epochs, lr=.001)


# The host and the device: how long Python is busy with a step, and how long the GPU

def kernels(device, sizes):
    return {f'{net} {m}': partial(count_kernels, net, m, device, sizes)
            for net in sizes.nets for m in PAIR}

def count_kernels(net, method, device, sizes):
    "A bare step: no statistics, no batches."
    step = step_job(method, net, sizes.batch, sizes.precision, device)
    for _ in range(3): step()
    host, whole = queue_seconds(step, device, sizes.steps)
    row = {'net': net, 'method': method, 'precision': sizes.precision,
           'host_ms': 1e3*host, 'step_ms': 1e3*whole}
    return row | (profiled(step) if device == 'cuda' else {})

def queue_seconds(job, device, calls):
    "Seconds of a call, of so many: until the host is done, until the device is."
    wait = torch.cuda.synchronize if device == 'cuda' else time.perf_counter
    wait()
    start = time.perf_counter()
    for _ in range(calls): job()
    host = time.perf_counter()
    wait()
    end = time.perf_counter()
    return (host - start)/calls, (end - start)/calls

def profiled(job):
    "What the device does in a call: kernels and copies, milliseconds, and the dearest of them."
    with profile(activities=[ProfilerActivity.CUDA]) as p:
        job()
        torch.cuda.synchronize()
    events = [e for e in p.key_averages() if e.device_type == DeviceType.CUDA]
    dearest = sorted(events, key=lambda e: -e.self_device_time_total)[:8]
    return {'kernels': sum(e.count for e in events),
            'device_ms': sum(e.self_device_time_total for e in events)/1e3,
            'dearest': [[e.key[:60], e.self_device_time_total/1e3, e.count] for e in dearest]}


PARTS = {part.__name__: part for part in (limits, graphs, plain, kernels, methods, compiled)}

def new_record(device, sizes):
    measured = {'limits': {}, 'kernels': [], 'ways': []}
    head = {'schema': 1, 'what': 'gpu_speed', 'date': date.today().isoformat()}
    return head | {'machine': machine(device), 'sizes': asdict(sizes)} | measured

def add(record, part, name, result):
    "Limits by name, the rest as rows."
    if part == 'limits': record['limits'][name] = result
    else: record['kernels' if part == 'kernels' else 'ways'].append(result)

def shown(part, result):
    "For people to read while the next one is measured."
    if part == 'limits': return f'{result/1e12:.4g} T a second'
    numbers = {k: v for k, v in result.items() if isinstance(v, (int, float))}
    return ', '.join(f'{k} {v:.4g}' for k, v in numbers.items())

def write(record, cases, device, path):
    "What was measured, how it went, and with which code; nothing where all failed."
    if not path or not cases.passed: return
    outcome = {'failed': cases.failed, 'left_out': cases.left_out}
    env = environment(device, {'measuring': cases.spent()})
    text = json.dumps(rounded(record | outcome | {'env': env}), indent=1, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as tmp: tmp.write_text(f'{text}\n', encoding='utf-8')

def record_path(out, device, card):
    "The record's file, named after the card; `None` for a rehearsal that has no folder for it."
    if device == 'cpu' and not out: return None
    name = re.sub('[^a-z0-9]+', '_', card.lower()).strip('_')
    return Path(out or ROOT/'records/speed')/f'gpu_{name}.json'

def main():
    p = argparse.ArgumentParser(description=__doc__)
    add_options(p, 240, PARTS)
    p.add_argument('--out', help='folder of the record instead of records/speed')
    options = p.parse_args()
    device = options.device
    check_device(device, 'measured')
    sizes = LARGE if device == 'cuda' else TINY
    record, cases = new_record(device, sizes), Cases(options.seconds)
    path = record_path(options.out, device, record['machine']['card'])
    print(*(f'{k} {v}' for k, v in record['machine'].items()), sep=', ', flush=True)
    for part in options.parts:
        for name, result in cases.results(part, PARTS[part](device, sizes)):
            print(f'{part} {name}: {shown(part, result)}', flush=True)
            add(record, part, name, result)
            write(record, cases, device, path)                  # what comes next may hang
    write(record, cases, device, path)
    cases.finish()

if __name__ == '__main__': main()
