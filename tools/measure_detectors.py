"""How well wrong labels are found, as the field measures it: 1,500 and 10,000 images with four kinds
of labels, all 50,000 with two; a frozen network's features and networks from scratch. Trains into
runs/detectors, then writes records/detectors.jsonl. Killed and started again, it goes on.

    measure_detectors.py [PATTERN]     # only what fits it, such as 'n1500_*' or '*_features-*'

Needs SGN_DATA, with cifar10-jpeg in it, and the extras `bench` and `features`."""
import os
import sys
import time
from copy import deepcopy
from dataclasses import asdict, replace
from fnmatch import fnmatch
from functools import cache, partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import NamedTuple
import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch.utils.flop_counter import FlopCounterMode
from sgn_nb.apps.classifier import SGNClassifier
from sgn_nb.apps.label_report import noise_estimate, quality_scores
from sgn_nb.base.files import atomic_write
from sgn_nb.base.seeds import generator
from sgn_nb.data.examples import Data, Examples, corrupt
from sgn_nb.data.features import SIZE, features, find_backbone
from sgn_nb.data.folder import image_folder
from sgn_nb.data.noise import label_hash
from sgn_nb.experiments.records import environment, read_lines, write_lines
from sgn_nb.methods.neighbours import Neighbours
from sgn_nb.training.metrics import training_flops

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = 1  # of a line in records/detectors.jsonl: no run and no curve, but scores
RUNS, RECORDS = ROOT/'runs/detectors', ROOT/'records/detectors.jsonl'
BACKBONE = 'effnet-lite0'
NOISES = 'worst', 'aggregate', 'sym-0.4', 'asym-0.4'
HUMAN = 'worst', 'aggregate'
DRAWS = range(3)
CHOOSING = 3      # a draw of its own, by which one of our scores is chosen
FOLDS = 5
CLEANLAB_SCORES = 'self_confidence', 'normalized_margin', 'confidence_weighted_entropy'
AIRBENCH = {'net': 'airbench', 'epochs': 10, 'batch': 250, 'lr': .2, 'pad': 2,
            'settings': {'gamma': .1, 'label_weight': .3}}
SCRATCH_CE = {'lr': .1}   # from notebook results/01_cifar


class Case(NamedTuple):
    "What is measured once."
    n:int          # images
    noise:str      # one of `NOISES`
    draw:int       # of the images, of noise, split and weights
    detector:str   # one of `DETECTORS`

    @property
    def name(self): return f'n{self.n}_{self.noise}_s{self.draw}_{self.detector}'

def cases():
    "The cheap ones first."
    light = 'features-neighbours', 'features-sgn', 'features-folds'
    ours = 'features-sgn', 'scratch-sgn'
    yield from map(Case._make, product((1_500, 10_000), NOISES, DRAWS, light))
    yield from map(Case._make, product((1_500, 10_000), NOISES, [CHOOSING], ours))
    yield from map(Case._make, product((50_000,), HUMAN, [0], light))
    for n in 1_500, 10_000: yield from map(Case._make, product([n], NOISES, DRAWS, ['scratch-sgn']))
    yield from map(Case._make, product((50_000,), HUMAN, [0], ['airbench-sgn']))
    for n in 1_500, 10_000: yield from map(Case._make, product([n], NOISES, DRAWS, ['scratch-folds']))


# The images, and what the frozen network sees of them

def label_column(noise): return noise if noise in HUMAN else 'clean'

@cache
def folder(column):
    "The whole data set, with these labels."
    return image_folder(f"{os.environ['SGN_DATA']}/cifar10-jpeg", label_col=column, clean_col='clean')

@cache
def rows():
    "Features of all training images, in their order; from the cache after the first time."
    return features(folder('clean'), BACKBONE).train.x

@cache
def look_seconds(n=512):
    "Seconds that the frozen network takes for an image on this machine, the cache left aside."
    data = folder('clean')
    few = replace(data, train=data.train[torch.arange(n)], test=None)
    start = time.perf_counter()
    features(few, BACKBONE, keep=False)
    return (time.perf_counter() - start)/n

@cache
def look_flops():
    "Operations of the frozen network for an image."
    with FlopCounterMode(display=False) as count, torch.inference_mode():
        find_backbone(BACKBONE).net(torch.zeros(1, 3, SIZE, SIZE))
    return count.get_total_flops()

def draw(case):
    "Numbers of the training images that are drawn, and the images with given and true labels."
    data = folder(label_column(case.noise))
    if case.noise not in HUMAN: data = corrupt(data, case.noise, case.draw)
    order = torch.randperm(len(data.train), generator=generator(case.draw, 'labels'))[:case.n]
    return order, data.train[order]


# Detectors: each makes of inputs and given labels what is known of the labels

class Clock:
    "Seconds of the wall and of the processor."
    def __init__(self): self.wall, self.cpu = time.perf_counter(), time.process_time()
    def read(self):
        return {'wall': time.perf_counter() - self.wall, 'cpu': time.process_time() - self.cpu}

def trained(method, case, x, y, **options):
    "A fitted classifier, and the operations of its training."
    clf = SGNClassifier(method, random_state=case.draw, device='cpu', **options).fit(x, y)
    n = len(y) - round(len(y)*clf.val_share)
    step = training_flops(deepcopy(clf.method_).cpu().float(), clf.seen_)
    return clf, step*n*clf.spec_.epochs

def once(case, x, y, method='sgn', **options):
    "One training, a tenth held out, as `sgn_report` does it."
    clf, flops = trained(method, case, x, y, val_share=.1, **options)
    return {'labels': clf.labels_, 'spec': asdict(clf.spec_), 'flops': flops}

def folds(case, x, y, method='ce', **options):
    "Five trainings, each predicting the fifth that it was not trained on: what cleanlab needs."
    probs, total = torch.zeros(len(y), int(y.max()) + 1), 0.
    parts = StratifiedKFold(FOLDS, shuffle=True, random_state=case.draw)
    for train, rest in parts.split(y, y):
        clf, flops = trained(method, case, x[train], y[train], **options)
        probs[rest] = torch.from_numpy(clf.predict_proba(x[rest])).float()
        total += flops
    return {'labels': {'given': y, 'probs': probs}, 'spec': asdict(clf.spec_), 'flops': total}

def neighbours(case, x, y):
    "Weighted nearest neighbours, each example without itself; nothing is trained."
    std, mean = torch.std_mean(x, 0)
    data = Data('rows', int(y.max()) + 1, Examples(x, y), mean=mean, std=std)
    flops = 2*len(x)**2*x.shape[1]                         # of the cosines
    return {'labels': {'given': y, 'probs': Neighbours(data).probs()}, 'spec': {}, 'flops': flops}

DETECTORS = {'features-sgn': once, 'features-folds': folds, 'features-neighbours': neighbours,
             'scratch-sgn': once, 'scratch-folds': partial(folds, **SCRATCH_CE),
             'airbench-sgn': partial(once, **AIRBENCH)}

def is_on_features(case): return case.detector.startswith('features')

def measure(case):
    "All that is known of these labels in the end, and what it took."
    order, e = draw(case)
    x = rows()[order] if is_on_features(case) else e.x
    clock = Clock()
    found = DETECTORS[case.detector](case, x, e.y)
    found |= {'true': e.true, 'seconds': clock.read()}
    if not is_on_features(case): return found
    found['spec'] |= {'features': BACKBONE, 'feature_size': SIZE}
    look = {'seconds': look_seconds()*case.n, 'flops': look_flops()*case.n}
    return found | {'look': look}


# What they are worth

def ranking(wrong, quality):
    """How well a score that is low where labels are wrong ranks them; a score that is missing counts
    as undecided. `fnr`: wrong labels missed when as many are flagged as are wrong; `p100`: how many
    of the hundred most suspicious labels are wrong."""
    suspicion = -torch.nan_to_num(torch.as_tensor(quality).double(), .5).numpy()
    worst_first = np.argsort(-suspicion, kind='stable')
    figures = {'ap': average_precision_score(wrong, suspicion),
               'auroc': roc_auc_score(wrong, suspicion),
               'fnr': 1 - wrong[worst_first[:wrong.sum()]].mean(),
               'p100': wrong[worst_first[:100]].mean()}
    return {name: round(float(v), 5) for name, v in figures.items()}

def cleanlab_figures(labels, wrong):
    "What cleanlab 2.9 makes of these probabilities."
    from cleanlab.count import compute_confident_joint
    from cleanlab.rank import get_label_quality_scores
    y = labels['given'].numpy()
    p = (labels['probs']/labels['probs'].sum(1, keepdim=True)).numpy()
    def quality(kind): return get_label_quality_scores(y, p, method=kind)
    scores = {kind: ranking(wrong, quality(kind)) for kind in CLEANLAB_SCORES}
    joint = compute_confident_joint(y, p)
    return {'scores': scores, 'rate': round(1 - joint.trace()/joint.sum(), 5)}

def class_rates(true, given, K):
    "Of each true class the share with another label, `[K]`."
    n = true.bincount(minlength=K)
    wrong = true[true != given].bincount(minlength=K)
    return (wrong/n.clamp_min(1)).tolist()

def report_figures(found, wrong):
    "What the label report makes of one training: scores, the rate, that of each class."
    labels = found['labels']
    estimate = noise_estimate(labels)
    of_class = 1 - np.diag(estimate.matrix)
    gamma = found['spec']['settings'].get('gamma', .001)
    scores = {kind: ranking(wrong, v) for kind, v in quality_scores(labels, gamma).items()}
    return {'scores': scores, 'rate': round(estimate.rate, 5),
            'interval': [round(estimate.low, 5), round(estimate.high, 5)],
            'class_rates': [round(float(r), 5) for r in of_class]}

def neighbour_figures(labels, wrong):
    "The share of the neighbours' votes for the given label."
    quality = labels['probs'].gather(1, labels['given'][:, None])[:, 0]
    return {'scores': {'votes': ranking(wrong, quality)}}

def line_of(case, found):
    "The line of a measurement."
    labels, true = found['labels'], found['true']
    wrong = (labels['given'] != true).numpy()
    data = {'dataset': 'cifar10-jpeg', 'label_column': label_column(case.noise),
            'clean_column': 'clean', 'n_train': case.n,
            'noise': 'none' if case.noise in HUMAN else case.noise}
    rates = class_rates(true, labels['given'], labels['probs'].shape[1])
    line = {'what': 'detector', 'schema': SCHEMA, 'id': case.name, 'detector': case.detector,
            'labelled': case.noise, 'draw': case.draw, 'choosing': case.draw == CHOOSING,
            'spec': found['spec'] | data, 'labels': label_hash(labels['given']),
            'realised_rate': float(wrong.mean()),
            'realised_class_rates': [round(r, 5) for r in rates], 'flops': found['flops'],
            'look': found.get('look')}
    if case.detector.endswith('sgn'): line['ours'] = report_figures(found, wrong)
    if case.detector.endswith('neighbours'): line['neighbours'] = neighbour_figures(labels, wrong)
    else: line['cleanlab'] = cleanlab_figures(labels, wrong)
    return line | {'env': environment('cpu', found['seconds'])}


# Both, case by case

def recorded():
    "Id -> line of what is measured already."
    return {line['id']: line for line in (read_lines(RECORDS) if RECORDS.exists() else [])}

def check_extras():
    "What is missing is said now, and not after a training."
    for module, extra in (('cleanlab', 'bench'), ('timm', 'features')):
        if find_spec(module) is None:
            raise ImportError(f"{module} is needed: pip install 'sgn_nb[{extra}]'")

def main(pattern='*'):
    "Measure what has no line yet; a training that was killed after its end is only scored."
    check_extras()
    lines = recorded()
    for case in cases():
        if case.name in lines or not fnmatch(case.name, pattern): continue
        path = RUNS/f'{case.name}.pt'
        if not path.exists():
            found = measure(case)
            with atomic_write(path) as tmp: torch.save(found, tmp)
        lines[case.name] = line = line_of(case, torch.load(path))
        write_lines([lines[name] for name in sorted(lines)], RECORDS)
        seconds = line['env']['seconds']
        print(case.name, {name: round(s, 1) for name, s in seconds.items()}, flush=True)

if __name__ == '__main__':
    torch.set_num_threads(1)
    main(*sys.argv[1:])
