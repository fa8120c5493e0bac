"""What the training loop's figures, checkpoints and progress cost beside a bare loop, what sharing
two cores gains, and what planning, handing out and loading many runs costs:
records/speed/overhead.json."""
import argparse
import json
import os
import statistics
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
import torch
from distributed import LocalCluster
from psutil import Process
from sgn_nb.base.files import atomic_write
from sgn_nb.experiments.grids import open_queue, plan_runs, run_grid
from sgn_nb.experiments.plans import grid, read_grid
from sgn_nb.experiments.records import environment, load_records, read_lines, write_lines
from sgn_nb.experiments.runner import batches, make_method, plan_run, prepare, run
from sgn_nb.spec import Spec
from sgn_nb.training.checkpoint import Checkpoint
from sgn_nb.training.loop import fit, make_accelerator, make_optimiser

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT/'records/speed/overhead.json'


def train_bare(method, train, spec):
    "The same steps and nothing else."
    opt = make_optimiser(method, spec)
    method.train()
    for epoch in range(spec.epochs):
        for step, (x, y, i) in enumerate(train.epoch(epoch)):
            method(x, y, i, epoch + step/len(train)).loss.backward()
            opt.step()
            opt.zero_grad()
            method.after_step()

def train_whole(method, train, spec, accelerator):
    "With all that `fit` does, a checkpoint and a bar among it."
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder)/'run.ckpt')
        fit(method, train, {}, spec, accelerator, checkpoint=checkpoint, progress='fit')

def step_seconds(plan, whole=False):
    "CPU seconds of a step, mean of one training."
    spec = plan.spec
    data = prepare(spec)
    train, _ = batches(spec, data)
    method = make_method(plan, data)
    accelerator = make_accelerator('cpu')
    start = time.process_time()
    if whole: train_whole(method, train, spec, accelerator)
    else: train_bare(method, train, spec)
    return (time.process_time() - start)/spec.epochs/len(train)

def overhead(method, rounds):
    """Microseconds that the loop adds to a step, from a network so small that they can be told;
    their share of a step of the digits' network."""
    nets = 'mlp', 'small_cnn'
    tiny, real = [plan_run(Spec(method=method, net=net, epochs=30, val_share=.2)) for net in nets]
    def difference(): return -step_seconds(tiny) + step_seconds(tiny, whole=True)
    difference()  # the first are never like the others
    added = statistics.median(difference() for _ in range(rounds))
    step = statistics.median(step_seconds(real) for _ in range(3))
    share = round(added/step, 4)
    return {'added_us': round(1e6*added), 'step_us': round(1e6*step), 'share': share}

def train_alone(queue):
    "Put seconds of one training by the bare loop into the queue."
    torch.set_num_threads(1)
    plan = plan_run(Spec(method='ce', epochs=30, val_share=.2))
    data = prepare(plan.spec)
    train, _ = batches(plan.spec, data)
    start = time.perf_counter()
    train_bare(make_method(plan, data), train, plan.spec)
    queue.put(time.perf_counter() - start)

def beside_each_other(n):
    "Mean seconds of a training by the bare loop, in so many processes at once."
    context = get_context('spawn')
    queue = context.Queue()
    processes = [context.Process(target=train_alone, args=(queue,)) for _ in range(n)]
    for p in processes: p.start()
    seconds = [queue.get() for _ in processes]
    for p in processes: p.join()
    return statistics.mean(seconds)

def machine_gain():
    "What two processes of the bare loop gain on this machine, with nothing of ours around them."
    gains = [2*beside_each_other(1)/beside_each_other(2) for _ in range(3)]
    return round(statistics.median(gains), 2)

def total_seconds(records): return sum(r.seconds for r in records)

def grid_gain(k):
    "Of two workers over one, on a small grid with seeds of its own."
    seeds = range(2*k, 2*k+2)
    methods = ['ce', 'gce', 'elr', 'sgn']
    plans = plan_runs(grid(method=methods, seed=seeds, epochs=15, val_share=.2))
    with tempfile.TemporaryDirectory() as folder:
        one = total_seconds([run(p.spec, f'{folder}/one', 'cpu') for p in plans])
        run_grid(plans, f'{folder}/two', 2, 'cpu')
        return 2*one/total_seconds(load_records(f'{folder}/two'))

def worker_gain(rounds):
    """Runs per second of two workers, one core each, as a multiple of one worker's on one core:
    from the runs' own seconds, so without the start of processes."""
    return round(statistics.median(grid_gain(k) for k in range(rounds)), 2)

def cpu_seconds():
    "Of this process and of its children, as they are now: other work on the machine adds little."
    me = Process()
    return sum(sum(p.cpu_times()[:2]) for p in (me, *me.children(recursive=True)))

def loading_seconds(n):
    "CPU seconds to load so many records: from a file each, and from a line each of one file."
    lines = read_lines(ROOT/'records/digits_constant.jsonl')
    records = [lines[k % len(lines)] for k in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        for k, record in enumerate(records):
            (Path(folder)/f'{k}.json').write_text(json.dumps(record))
        archive = Path(folder)/'archive'
        archive.mkdir()
        write_lines(records, archive/'all.jsonl')
        return [loading_of(place) for place in (folder, archive/'all.jsonl')]

def loading_of(place):
    start = cpu_seconds()
    load_records(place)
    return round(cpu_seconds() - start, 2)

def planning_seconds(n):
    "CPU seconds to read a grid of so many runs from its file, and to plan them."
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'grid.toml'
        file.write_text(f'method = ["ce", "sgn"]\nseed = {list(range(n//2))}')
        start = cpu_seconds()
        plan_runs(read_grid(file))
        return cpu_seconds() - start

def drain(queue):
    while not queue.is_empty: queue.wait()

def handing_milliseconds(workers, n=500):
    """CPU milliseconds for each run: it is handed out, a worker looks at it, and what became of it
    is looked up. The runs are on record, so that nothing else is done."""
    plans = plan_runs(grid(method='ce', seed=range(n+1), n_train=200, net='mlp'))
    with tempfile.TemporaryDirectory() as folder:
        for p in plans: (Path(folder)/f'{p.id}.json').write_text('{}')
        specs = [p.spec for p in plans]
        with open_queue(specs, folder, workers, 'cpu') as queue:
            queue.submit(plans[:1])
            drain(queue)  # the worker has started
            start = cpu_seconds()
            for p in plans[1:]: queue.submit([p])
            drain(queue)
            return round(1000*(cpu_seconds() - start)/n, 2)

def many_runs():
    "Of a grid that is large: in CPU seconds, and for a run in CPU milliseconds."
    before = os.getloadavg()[0]
    planning = planning_seconds(10_000)
    single, packed = loading_seconds(10_000)
    pool = handing_milliseconds(1)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=':0') as cluster:
        scheduler = handing_milliseconds(cluster.scheduler_address)
    return {'plan 10,000': round(planning, 2), 'load 10,000': single, 'load 10,000, packed': packed,
            'hand out, ms': {'pool': pool, 'scheduler': scheduler},
            'load': [round(before, 2), round(os.getloadavg()[0], 2)],
            'env': environment('cpu', {})}

def one_run(rounds):
    return {'overhead': {m: overhead(m, rounds) for m in ('ce', 'sgn')},
            'two workers : one': worker_gain(2), 'two bare loops : one': machine_gain(),
            'env': environment('cpu', {})}

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--many', action='store_true', help='many runs only; what is known of one stays')
    options = p.parse_args()
    torch.set_num_threads(1)
    one = json.loads(FILE.read_text()) if options.many else one_run(options.rounds)
    record = {'what': 'overhead'} | one | {'many runs': many_runs()}
    with atomic_write(FILE) as tmp: tmp.write_text(json.dumps(record, indent=1) + '\n')
    print(json.dumps(record, indent=1))

if __name__ == '__main__': main()
