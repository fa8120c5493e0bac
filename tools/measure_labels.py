"""How well the label report finds wrong labels, beside cleanlab with 5-fold cross-validation:
trains into runs/labels, then writes records/labels.jsonl. Killed and started again, it goes on.
Needs SGN_DATA and the extra `bench`."""
import os
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path
import torch
from sklearn.model_selection import StratifiedKFold
from sgn_nb.apps.classifier import SGNClassifier
from sgn_nb.apps.label_report import noise_estimate, quality_scores
from sgn_nb.base.files import atomic_write
from sgn_nb.base.seeds import generator
from sgn_nb.data.examples import corrupt
from sgn_nb.data.folder import image_folder
from sgn_nb.data.noise import label_hash
from sgn_nb.experiments.records import environment, read_lines, write_lines

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = 1  # of a line in records/labels.jsonl: no run and no curve, but scores
RUNS, RECORDS = ROOT/'runs/labels', ROOT/'records/labels.jsonl'
NOISES = 'worst', 'sym-0.4', 'asym-0.4'
SEEDS = range(3)
N, EPOCHS, FOLDS = 10_000, 30, 5
LR = {'sgn': .2, 'ce': .1}  # of each method, from notebook results/01_cifar
CLEANLAB_SCORES = 'self_confidence', 'normalized_margin', 'confidence_weighted_entropy'


def is_human(noise): return noise == 'worst'

def label_column(noise): return 'worst' if is_human(noise) else 'clean'

def examples(noise, seed):
    "Images, given and true labels of 10,000 training images, drawn by the seed."
    folder = f"{os.environ['SGN_DATA']}/cifar10-jpeg"
    data = image_folder(folder, label_col=label_column(noise), clean_col='clean')
    if not is_human(noise): data = corrupt(data, noise, seed)
    order = torch.randperm(len(data.train), generator=generator(seed, 'labels'))
    return data.train[order[:N]]

def timed_fit(clf, x, y):
    "Train; return seconds of training and of the processor."
    start = time.process_time()
    clf.fit(x, y)
    return clf.seconds_ | {'cpu': time.process_time() - start}

def train_sgn(e, seed):
    "One training, as `sgn_report` does it."
    clf = SGNClassifier('sgn', epochs=EPOCHS, lr=LR['sgn'], val_share=.1, random_state=seed,
                        device='cpu')
    seconds = timed_fit(clf, e.x, e.y)
    return clf.labels_, seconds, asdict(clf.spec_)

def train_ce(e, seed):
    """What cleanlab needs: five trainings of cross-entropy, each predicting the fifth that it was
    not trained on."""
    probs = torch.zeros(len(e), int(e.y.max()) + 1)
    total = {'train': 0., 'cpu': 0.}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, rest in folds.split(e.x, e.y):
        clf = SGNClassifier('ce', epochs=EPOCHS, lr=LR['ce'], random_state=seed, device='cpu')
        seconds = timed_fit(clf, e.x[train], e.y[train])
        total = {part: total[part] + seconds[part] for part in total}
        probs[rest] = torch.from_numpy(clf.predict_proba(e.x[rest])).float()
    return {'given': e.y, 'probs': probs}, total, asdict(clf.spec_)

TRAININGS = {'sgn': train_sgn, 'ce': train_ce}

def recorded_lines():
    "Id -> line of what is measured already."
    return {line['id']: line for line in (read_lines(RECORDS) if RECORDS.exists() else [])}

def train_once(noise, seed, method, path):
    "Train on these labels, and keep what is needed to score them."
    e = examples(noise, seed)
    labels, seconds, spec = TRAININGS[method](e, seed)
    result = {'labels': labels, 'true': e.true, 'seconds': seconds, 'spec': spec}
    with atomic_write(path) as tmp: torch.save(result, tmp)
    print(path.name, {k: round(v, 1) for k, v in seconds.items()}, flush=True)

def train():
    "What is not there yet, the first seed of each noise first."
    names = recorded_lines()
    for seed, noise, method in product(SEEDS, NOISES, TRAININGS):
        path = RUNS/f'{noise}_s{seed}_{method}.pt'
        if path.exists() or path.stem in names: continue
        train_once(noise, seed, method, path)

def ranking(wrong, quality):
    """Average precision and AUROC of a score that is low where labels are wrong; a score that is
    missing counts as undecided."""
    from sklearn.metrics import average_precision_score, roc_auc_score
    suspicion = -torch.nan_to_num(torch.as_tensor(quality).double(), .5).numpy()
    return {'ap': round(average_precision_score(wrong, suspicion), 5),
            'auroc': round(roc_auc_score(wrong, suspicion), 5)}

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

def report_figures(labels, wrong, gamma):
    "What the label report makes of one training of SGN."
    estimate = noise_estimate(labels)
    interval = [round(estimate.low, 5), round(estimate.high, 5)]
    scores = {kind: ranking(wrong, v) for kind, v in quality_scores(labels, gamma).items()}
    return {'scores': scores, 'rate': round(estimate.rate, 5), 'interval': interval}

def line_of(path):
    """The line of a training: all candidates for the score, cleanlab on the same probabilities,
    the estimated rate, seconds."""
    run = torch.load(path)
    noise, seed, method = path.stem.split('_')
    labels = run['labels']
    wrong = (labels['given'] != run['true']).numpy()
    data = {'dataset': 'cifar10-jpeg', 'label_column': label_column(noise),
            'clean_column': 'clean', 'noise': 'none' if is_human(noise) else noise, 'n_train': N}
    spec = run['spec'] | data
    gamma = spec['settings'].get('gamma')
    report = report_figures(labels, wrong, gamma) if method == 'sgn' else {}
    return {'what': 'labels', 'schema': SCHEMA, 'id': path.stem, 'spec': spec,
            'draw': int(seed.removeprefix('s')), 'folds': FOLDS if method == 'ce' else None,
            'labels': label_hash(labels['given']), 'realised_rate': float(wrong.mean()),
            'ours': report, 'cleanlab': cleanlab_figures(labels, wrong),
            'env': environment('cpu', run['seconds'])}

def score():
    "A line for each training that has none."
    lines = recorded_lines()
    for path in sorted(RUNS.glob('*.pt')):
        if path.stem in lines: continue
        lines[path.stem] = line_of(path)
        write_lines([lines[name] for name in sorted(lines)], RECORDS)

if __name__ == '__main__':
    torch.set_num_threads(1)
    train()
    score()
