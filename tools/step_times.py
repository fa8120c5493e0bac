"""How long a training step of every method takes beside one of cross-entropy, on the paper's network: writes a record.

    python tools/step_times.py [--rounds 5] [--net wrn28_2] [--batch 128] [--threads 1]
"""
import argparse, json, os, time
from pathlib import Path
from statistics import median
import torch
from sgn_nb.data import Batches, from_arrays
from sgn_nb.methods.registry import METHODS
from sgn_nb.nets import net_maker
from sgn_nb.records import environment

def stepper(name, net, train):
    "A function that takes one training step of a method and returns its seconds."
    method = METHODS[name](net_maker(net, (3, 32, 32)), 10, train.y, **METHODS[name].resolve(600, 600*351))
    opt = torch.optim.SGD(method.train().groups(), lr=.01, momentum=.9, nesterov=True, weight_decay=5e-4)
    batch = next(iter(train))
    def step():
        start = time.perf_counter()
        loss = method(*batch, 1.)
        loss.backward(); opt.step(); opt.zero_grad(); method.after_step()
        return time.perf_counter()-start
    return step

def one_round(steps):
    "Method -> seconds of its step, and their ratio to the mean of the steps of cross-entropy just before and after it."
    got,before = {},steps['ce']()
    for name in steps:
        took,after = steps[name](),steps['ce']()
        got[name] = took,2*took/(before+after)
        before = after
    return got

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=5); p.add_argument('--net', default='wrn28_2')
    p.add_argument('--batch', type=int, default=128); p.add_argument('--threads', type=int, default=1)
    args = p.parse_args()
    torch.manual_seed(0); torch.set_num_threads(args.threads)
    x,y = torch.randint(0, 256, (args.batch, 3, 32, 32), dtype=torch.uint8),torch.randint(0, 10, (args.batch,))
    train = Batches(from_arrays(x, y, K=10), from_arrays(x, y, K=10).train, args.batch)
    steps = {name: stepper(name, args.net, train) for name in METHODS}
    for step in steps.values(): step()                                            # the first is never like the others
    load,start = os.getloadavg()[0],time.perf_counter()
    rounds = [one_round(steps) for _ in range(args.rounds)]
    record = {'what': 'seconds of one training step, and its ratio to the steps of cross-entropy just before and after it (medians)', 'net': args.net, 'batch': args.batch,
              'classes': 10, 'precision': 'fp32', 'rounds': args.rounds, 'load_before': round(load, 2),
              'seconds': {n: round(median(r[n][0] for r in rounds), 3) for n in steps},
              'relative': {n: round(median(r[n][1] for r in rounds), 2) for n in steps},
              'env': environment('cpu', {'rounds': time.perf_counter()-start})}
    out = Path(__file__).parent.parent/'measured'/'speed'/f'{args.net}_steps.json'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + '\n')
    print(json.dumps(record, indent=1))
