"What the training loop's figures, checkpoints and progress cost beside a bare loop, and what sharing two cores gains: measured/speed/overhead.json."
import argparse, json, statistics, tempfile, time
from pathlib import Path
import torch
from sgn_nb.experiments import Spec, grid
from sgn_nb.files import written
from sgn_nb.grids import chosen, run_grid
from sgn_nb.records import environment, load_records, to_json
from sgn_nb.runner import batches, planned, prepare, untrained
from sgn_nb.training import accelerator, fit

ROOT = Path(__file__).resolve().parent.parent

def bare(method, train, spec):
    "The same steps and nothing else."
    opt = torch.optim.SGD(method.groups(), lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, weight_decay=spec.weight_decay)
    method.train()
    for epoch in range(spec.epochs):
        for step,(x,y,i) in enumerate(train.epoch(epoch)):
            method(x, y, i, epoch + step/len(train)).backward()
            opt.step(); opt.zero_grad(); method.after_step()

def seconds(spec, loop):
    "CPU seconds of one training."
    data = prepare(spec)
    train,_ = batches(spec, data)
    method = untrained(spec, data)
    start = time.process_time()
    if loop == 'bare': bare(method, train, spec)
    else:
        with tempfile.TemporaryDirectory() as tmp:
            fit(method, train, {}, spec.epochs, lr=spec.lr, on=accelerator('cpu'), checkpoint=Path(tmp)/'run.ckpt', progress='fit')
    return time.process_time() - start

def overhead(method, rounds):
    "Median of paired ratios, fit : bare, in turn."
    spec = planned(Spec(method=method, epochs=10, val_share=.2))
    pairs = [(seconds(spec, 'bare'), seconds(spec, 'fit')) for _ in range(rounds)]
    return {'bare': round(statistics.median(b for b,_ in pairs), 3), 'fit': round(statistics.median(f for _,f in pairs), 3),
            'ratio': round(statistics.median(f/b for b,f in pairs), 4)}

def throughput(workers):
    "Seconds for a grid of twelve runs."
    specs = chosen(grid(method=['ce', 'gce', 'elr', 'sgn'], seed=[0, 1, 2], epochs=15, val_share=.2))
    with tempfile.TemporaryDirectory() as tmp:
        start = time.perf_counter()
        run_grid(specs, tmp, workers, 'cpu')
        return time.perf_counter() - start

def loading(n):
    "Seconds to load so many records."
    texts = [to_json(r) for r in load_records(ROOT/'records/digits_tables')]
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
    found = {'overhead': {m: overhead(m, rounds) for m in ('ce', 'sgn')}, 'load 10,000 records': round(loading(10_000), 2)}
    one,two = zip(*[(throughput(1), throughput(2)) for _ in range(3)])
    found['workers'] = {'one': round(statistics.median(one), 1), 'two': round(statistics.median(two), 1), 'gain': round(statistics.median(a/b for a,b in zip(one, two)), 2)}
    with written(ROOT/'measured/speed/overhead.json') as tmp: tmp.write_text(json.dumps(found | {'env': environment('cpu', {})}, indent=1) + '\n')
    print(json.dumps(found, indent=1))

if __name__ == '__main__': main()
