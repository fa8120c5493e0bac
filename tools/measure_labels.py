"How well the label report finds wrong labels, beside cleanlab with 5-fold cross-validation: trains into runs/labels, then writes records/labels. Killed and started again, it goes on."
import argparse, os, sys, time
from dataclasses import asdict
from pathlib import Path
import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from sgn_nb.classifier import SGNClassifier
from sgn_nb.data import corrupt, image_folder, stream
from sgn_nb.files import written

ROOT = Path(__file__).resolve().parent.parent
RUNS, RECORDS = ROOT/'runs/labels', ROOT/'records/labels'
NOISES, N, EPOCHS, FOLDS = ('worst', 'sym-0.4', 'asym-0.4'), 10_000, 30, 5
LR = {'sgn': .2, 'ce': .1}  # of each method, from notebook 61


def examples(noise, seed):
    "Images, given and true labels of 10,000 training images, drawn by the seed."
    human = noise == 'worst'
    data = image_folder(f"{os.environ['SGN_DATA']}/cifar10-jpeg", label_col='worst' if human else 'clean', clean_col='clean')
    if not human: data = corrupt(data, noise, seed)
    return data.train[torch.randperm(len(data.train), generator=stream(seed, 'labels'))[:N]]

def train_sgn(e, seed):
    "One training, as `sgn_report` does it."
    clf = SGNClassifier('sgn', epochs=EPOCHS, lr=LR['sgn'], val_share=.1, random_state=seed, device='cpu', verbose=True).fit(e.x, e.y)
    return clf.labels_, clf.seconds_, asdict(clf.spec_)

def train_ce(e, seed):
    "What cleanlab needs: five trainings of cross-entropy, each predicting the fifth that it has not seen."
    probs, seconds = torch.zeros(len(e), int(e.y.max()) + 1), 0.
    for seen, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(e.x, e.y):
        clf = SGNClassifier('ce', epochs=EPOCHS, lr=LR['ce'], random_state=seed, device='cpu', verbose=True).fit(e.x[seen], e.y[seen])
        probs[rest] = torch.from_numpy(clf.predict_proba(e.x[rest])).float()
        seconds += clf.seconds_['train']
    return {'given': e.y, 'probs': probs}, {'train': seconds}, asdict(clf.spec_)

def train():
    "What is not there yet, the first seed of each noise first."
    for seed in range(3):
        for noise in NOISES:
            for who, run in (('sgn', train_sgn), ('ce', train_ce)):
                path = RUNS/f'{noise}_{seed}_{who}.pt'
                if path.exists(): continue
                e = examples(noise, seed)
                labels, seconds, spec = run(e, seed)
                with written(path) as tmp: torch.save({'labels': labels, 'true': e.true, 'seconds': seconds, 'spec': spec}, tmp)
                print(path.name, {k: round(v, 1) for k,v in seconds.items()}, flush=True)

if __name__ == '__main__':
    torch.set_num_threads(1)
    train()
