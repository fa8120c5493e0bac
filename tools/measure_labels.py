"How well the label report finds wrong labels, beside cleanlab with 5-fold cross-validation: trains into runs/labels, then writes records/labels.jsonl. Killed and started again, it goes on. Needs SGN_DATA and the extra `bench`."
import os, time
from dataclasses import asdict
from pathlib import Path
import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from sgn_nb.apps.classifier import SGNClassifier
from sgn_nb.base.seeds import generator
from sgn_nb.data.examples import corrupt
from sgn_nb.data.folder import image_folder
from sgn_nb.base.files import atomic_write
from sgn_nb.apps.label_report import noise_estimate, quality_scores
from sgn_nb.data.noise import label_hash
from sgn_nb.experiments.records import environment, read_lines, write_lines

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = 1  # of a line in records/labels.jsonl: no run and no curve, but scores
RUNS, RECORDS = ROOT/'runs/labels', ROOT/'records/labels.jsonl'
NOISES, SEEDS, N, EPOCHS, FOLDS = ('worst', 'sym-0.4', 'asym-0.4'), range(3), 10_000, 30, 5
LR = {'sgn': .2, 'ce': .1}  # of each method, from notebook results/01_cifar


def examples(noise, seed):
    "Images, given and true labels of 10,000 training images, drawn by the seed."
    human = noise == 'worst'
    data = image_folder(f"{os.environ['SGN_DATA']}/cifar10-jpeg", label_col='worst' if human else 'clean', clean_col='clean')
    if not human: data = corrupt(data, noise, seed)
    return data.train[torch.randperm(len(data.train), generator=generator(seed, 'labels'))[:N]]

def train_sgn(e, seed):
    "One training, as `sgn_report` does it."
    clf = SGNClassifier('sgn', epochs=EPOCHS, lr=LR['sgn'], val_share=.1, random_state=seed, device='cpu')
    start = time.process_time()
    clf.fit(e.x, e.y)
    return clf.labels_, clf.seconds_ | {'cpu': time.process_time() - start}, asdict(clf.spec_)

def train_ce(e, seed):
    "What cleanlab needs: five trainings of cross-entropy, each predicting the fifth that it has not seen."
    probs, seconds = torch.zeros(len(e), int(e.y.max()) + 1), {'train': 0., 'cpu': 0.}
    for seen, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(e.x, e.y):
        clf = SGNClassifier('ce', epochs=EPOCHS, lr=LR['ce'], random_state=seed, device='cpu')
        start = time.process_time()
        clf.fit(e.x[seen], e.y[seen])
        seconds = {'train': seconds['train'] + clf.seconds_['train'], 'cpu': seconds['cpu'] + time.process_time() - start}
        probs[rest] = torch.from_numpy(clf.predict_proba(e.x[rest])).float()
    return {'given': e.y, 'probs': probs}, seconds, asdict(clf.spec_)

def train():
    "What is not there yet, the first seed of each noise first."
    for seed in SEEDS:
        for noise in NOISES:
            for who, run in (('sgn', train_sgn), ('ce', train_ce)):
                path = RUNS/f'{noise}_{seed}_{who}.pt'
                if path.exists() or (RECORDS/f'{noise}_s{seed}_{who}.json').exists(): continue
                e = examples(noise, seed)
                labels, seconds, spec = run(e, seed)
                with atomic_write(path) as tmp: torch.save({'labels': labels, 'true': e.true, 'seconds': seconds, 'spec': spec}, tmp)
                print(path.name, {k: round(v, 1) for k,v in seconds.items()}, flush=True)

def finds(wrong, quality):
    "Average precision and AUROC of a score that is low where labels are wrong; a score that is missing counts as undecided."
    from sklearn.metrics import average_precision_score, roc_auc_score
    q = torch.nan_to_num(torch.as_tensor(quality).double(), .5).numpy()
    return {'ap': round(average_precision_score(wrong, -q), 5), 'auroc': round(roc_auc_score(wrong, -q), 5)}

def cleanlab(labels, wrong):
    "What cleanlab 2.9 makes of these probabilities."
    from cleanlab.count import compute_confident_joint
    from cleanlab.rank import get_label_quality_scores
    y, p = labels['given'].numpy(), (labels['probs']/labels['probs'].sum(1, keepdim=True)).numpy()
    joint = compute_confident_joint(y, p)
    scores = {how: finds(wrong, get_label_quality_scores(y, p, method=how)) for how in ('self_confidence', 'normalized_margin', 'confidence_weighted_entropy')}
    return {'scores': scores, 'rate': round(1 - joint.trace()/joint.sum(), 5)}

def score():
    "A line for each training: all candidates for the score, cleanlab on the same probabilities, the estimated rate, seconds."
    lines = {line['id']: line for line in (read_lines(RECORDS) if RECORDS.exists() else [])}
    for path in sorted(RUNS.glob('*.pt')):
        if path.stem in lines: continue
        run, (noise, seed, who) = torch.load(path), path.stem.split('_')
        labels, human = run['labels'], noise == 'worst'
        wrong = (labels['given'] != run['true']).numpy()
        spec = run['spec'] | {'dataset': 'cifar10-jpeg', 'label_column': 'worst' if human else 'clean', 'clean_column': 'clean', 'noise': 'none' if human else noise, 'n_train': N}
        ours = {}
        if who == 'sgn':
            e = noise_estimate(labels)
            ours = {'scores': {k: finds(wrong, v) for k,v in quality_scores(labels, spec['settings']['gamma']).items()}, 'rate': round(e.rate, 5), 'interval': [round(e.low, 5), round(e.high, 5)]}
        lines[path.stem] = {'what': 'labels', 'schema': SCHEMA, 'id': path.stem, 'spec': spec, 'draw': int(seed), 'folds': FOLDS if who == 'ce' else None,
                            'labels': label_hash(labels['given']), 'realised_rate': float(wrong.mean()), 'ours': ours, 'cleanlab': cleanlab(labels, wrong),
                            'env': environment('cpu', run['seconds'])}
        write_lines([lines[name] for name in sorted(lines)], RECORDS)

if __name__ == '__main__':
    torch.set_num_threads(1)
    train()
    score()
