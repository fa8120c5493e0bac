"""Does the label report warn where it should? Small trainings on digits and on pictures that say
nothing, written to records/warnings.jsonl; 120 to tune the warning by, forty to report it on.
Killed and started again, it goes on. `--again` makes all figures of a run anew but its training."""
import sys
from dataclasses import asdict
from pathlib import Path
import numpy as np
import torch
from sgn_nb.apps.classifier import SGNClassifier
from sgn_nb.apps.label_report import (Evidence, evidence, make_report, network_signs,
                                       noise_estimate)
from sgn_nb.base.files import atomic_write
from sgn_nb.data.examples import corrupt
from sgn_nb.data.sources import load_data
from sgn_nb.experiments.records import environment, read_lines, write_lines

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = 1
RUNS, RECORDS = ROOT/'runs/warnings', ROOT/'records/warnings.jsonl'
SIZES = 100, 150, 200, 300, 400, 600, 1000, 1437
NOISES = 'none', 'sym-0.1', 'sym-0.2', 'asym-0.2', 'sym-0.4', 'asym-0.4', 'sym-0.6'
PICTURES = 'digits', 'digits', 'digits', 'noise'   # one run in four has pictures that say nothing
LENGTHS = 30, 30, 30, 3                           # and one in four is far too short
TUNE, REPORT = 120, 40                             # runs to tune by, and to report on


def plan(k):
    "What run number `k` is: drawn, and the same each time."
    rng = np.random.default_rng(k)
    n = int(rng.choice(SIZES))
    return {'n': n, 'noise': str(rng.choice(NOISES)), 'pictures': str(rng.choice(PICTURES)),
            'epochs': int(rng.choice(LENGTHS)), 'seed': k,
            'use': 'tune' if k < TUNE else 'report'}

def examples(p):
    "Images, given and true labels of a run."
    data = load_data('digits')
    if p['noise'] != 'none': data = corrupt(data, p['noise'], p['seed'])
    rng = np.random.default_rng(p['seed'])
    chosen = torch.from_numpy(rng.permutation(len(data.train))[:p['n']])
    e = data.train[chosen]
    x, true = e.x, e.y if e.true is None else e.true
    if p['pictures'] == 'noise':
        x = torch.from_numpy(rng.integers(0, 256, tuple(x.shape), dtype=np.uint8))
    return x, e.y.numpy(), true.numpy()

def train(k):
    "The classifier of a run, without its network: predictions and votes."
    p = plan(k)
    path = RUNS/f'{k:02}.pt'
    if path.exists(): return torch.load(path, weights_only=False)
    x, given, true = examples(p)
    clf = SGNClassifier(net='mlp', epochs=p['epochs'], val_share=.1, random_state=k,
                        device='cpu').fit(x, given)
    e = evidence(clf)
    result = {'plan': p, 'labels': e.labels, 'classes': e.classes, 'settings': e.settings,
              'epochs': e.epochs, 'true': true, 'spec': asdict(clf.spec_), 'seconds': clf.seconds_}
    with atomic_write(path) as tmp: torch.save(result, tmp)
    return result

def line_of(k):
    "What the report says of a run, and whether that was right."
    run = train(k)
    e = Evidence(run['labels'], run['classes'], run['settings'], run['epochs'])
    estimate = noise_estimate(e.labels)
    report = make_report(e, estimate).sort_index()
    given, corrected = report.given_label.to_numpy(), report.corrected_label.to_numpy()
    before, after = (given == run['true']).mean(), (corrected == run['true']).mean()
    signs = {name: round(float(v), 5) for name, v in network_signs(e, estimate).items()}
    return {'what': 'warnings', 'schema': SCHEMA, 'id': f'{k:03}', 'plan': plan(k),
            'spec': run['spec'], 'issues': int(report.is_label_issue.sum()),
            'right_before': round(float(before), 5), 'right_after': round(float(after), 5), 'bad': bool(after < before),
            'rate': round(estimate.rate, 5), 'signs': signs,
            'env': environment('cpu', run['seconds'])}

def main(again=False):
    lines = {} if again or not RECORDS.exists() else {r['id']: r for r in read_lines(RECORDS)}
    for k in range(TUNE+REPORT):
        if f'{k:03}' in lines: continue
        lines[f'{k:03}'] = line = line_of(k)
        print(line['plan'], line['bad'], line['signs'], flush=True)
        write_lines([lines[name] for name in sorted(lines)], RECORDS)

if __name__ == '__main__':
    torch.set_num_threads(1)
    main('--again' in sys.argv)
