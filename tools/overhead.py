"What the training loop's figures, checkpoints and progress cost beside a bare loop, and what sharing two cores gains, and what a run takes: records/speed/overhead.json."
import argparse, json, statistics, tempfile, time
from pathlib import Path
import torch
from sgn_nb.training.checkpoint import Checkpoint
from sgn_nb.experiments.plans import grid, read_grid
from sgn_nb.base.files import atomic_write
from sgn_nb.experiments.grids import plan_runs, run_grid
from sgn_nb.experiments.records import as_dict, environment, load_records, to_json
from sgn_nb.experiments.runner import batches, make_method, plan_run, prepare, run
from sgn_nb.spec import Spec
from sgn_nb.training.loop import fit, make_accelerator, make_optimiser

ROOT = Path(__file__).resolve().parent.parent

def bare(method, train, spec):
    "The same steps and nothing else."
    opt = make_optimiser(method, spec)
    method.train()
    for epoch in range(spec.epochs):
        for step,(x,y,i) in enumerate(train.epoch(epoch)):
            method(x, y, i, epoch + step/len(train)).loss.backward()
            opt.step(); opt.zero_grad(); method.after_step()

def seconds(plan, loop):
    "CPU seconds of a step, mean of one training."
    spec = plan.spec
    data = prepare(spec)
    train,_ = batches(spec, data)
    method = make_method(plan, data)
    accelerator, start = make_accelerator('cpu'), time.process_time()
    if loop == 'bare': bare(method, train, spec)
    else:
        with tempfile.TemporaryDirectory() as tmp:
            fit(method, train, {}, spec, accelerator, checkpoint=Checkpoint(Path(tmp)/'run.ckpt'), progress='fit')
    return (time.process_time() - start)/spec.epochs/len(train)

def overhead(method, rounds):
    "Microseconds that the loop adds to a step, from a network so small that they can be told; their share of a step of the digits' network."
    tiny, real = (plan_run(Spec(method=method, net=net, epochs=30, val_share=.2)) for net in ('mlp', 'small_cnn'))
    seconds(tiny, 'bare'), seconds(tiny, 'fit')                                   # the first are never like the others
    added = statistics.median(-seconds(tiny, 'bare') + seconds(tiny, 'fit') for _ in range(rounds))
    step = statistics.median(seconds(real, 'bare') for _ in range(3))
    return {'added_us': round(1e6*added), 'step_us': round(1e6*step), 'share': round(added/step, 4)}

def alone(queue):
    "Seconds of one training by the bare loop."
    torch.set_num_threads(1)
    plan = plan_run(Spec(method='ce', epochs=30, val_share=.2))
    data = prepare(plan.spec)
    train,_ = batches(plan.spec, data)
    start = time.perf_counter()
    bare(make_method(plan, data), train, plan.spec)
    queue.put(time.perf_counter() - start)

def machine():
    "What two processes of the bare loop gain on this machine, with nothing of ours around them."
    from multiprocessing import get_context
    made = get_context('spawn')
    def of(n):
        queue, crew = made.Queue(), []
        for _ in range(n): crew.append(made.Process(target=alone, args=(queue,))); crew[-1].start()
        got = [queue.get() for _ in crew]
        for p in crew: p.join()
        return statistics.mean(got)
    return round(statistics.median(2*of(1)/of(2) for _ in range(3)), 2)

def sharing(rounds):
    "Runs per second of two workers, one core each, as a multiple of one worker's on one core: from the runs' own seconds, so without the start of processes."
    gains = []
    for k in range(rounds):
        plans = plan_runs(grid(method=['ce', 'gce', 'elr', 'sgn'], seed=range(2*k, 2*k+2), epochs=15, val_share=.2))
        took = lambda records: sum(r.seconds for r in records)
        with tempfile.TemporaryDirectory() as tmp:
            one = took([run(p.spec, f'{tmp}/one', 'cpu') for p in plans])
            run_grid(plans, f'{tmp}/two', 2, 'cpu')
            gains.append(2*one/took(load_records(f'{tmp}/two')))
    return round(statistics.median(gains), 2)

def slowest():
    "Seconds of the longest runs of the digits table on one core."
    specs = {s.method: s for s in read_grid(ROOT/'experiments/digits_table1.toml') if (s.noise, s.seed) == ('sym-0.4', 0)}
    with tempfile.TemporaryDirectory() as tmp:
        return {m: run(s, tmp, 'cpu').env['seconds'] for m,s in specs.items() if m in ('ce', 'sgn', 'het', 'coteaching', 'forward')}

def loading(n):
    "Seconds to load so many records."
    texts = [to_json(as_dict(r)) for r in load_records(ROOT/'records/digits_tables.jsonl')]
    with tempfile.TemporaryDirectory() as tmp:
        for k in range(n): (Path(tmp)/f'{k}.json').write_text(texts[k%len(texts)])
        start = time.perf_counter()
        load_records(tmp)
        return time.perf_counter() - start

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--rounds', type=int, default=7)
    rounds = p.parse_args().rounds
    torch.set_num_threads(1)
    found = {'what': 'overhead', 'overhead': {m: overhead(m, rounds) for m in ('ce', 'sgn')}, 'load 10,000 records': round(loading(10_000), 2)}
    found |= {'two workers : one': sharing(3), 'two bare loops : one': machine(), 'seconds of a run': slowest()}
    with atomic_write(ROOT/'records/speed/overhead.json') as tmp: tmp.write_text(json.dumps(found | {'env': environment('cpu', {})}, indent=1) + '\n')
    print(json.dumps(found, indent=1))

if __name__ == '__main__': main()
