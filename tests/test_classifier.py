"""scikit-learn's own checks of an estimator, and what the notebook cannot test in one process: a
kill, a pickle, a light import."""
import pickle
import sys
import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks
from conftest import ROOT, run, slow
from sgn_nb.apps.classifier import SGNClassifier

# Fewer epochs than usual, as the checks fit hundreds of times; everything else is what a user gets.
@parametrize_with_checks([SGNClassifier(epochs=10)])
def test_scikit_learn(estimator, check):
    "Each rule that pipelines and searches rely on; no check is expected to fail."
    check(estimator)

def table(n=200):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5))
    return X, np.where(X[:, 0] > 0, 'up', 'down')

def test_pickle():
    """A fitted classifier goes through a pickle, as joblib's workers need it to; nothing of the
    training hangs on it."""
    X, y = table()
    clf = SGNClassifier(epochs=3, val_share=.1).fit(X, y)
    assert np.array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X), clf.predict_proba(X))

KILLED = '''
import os, sys, numpy as np
import sgn_nb.training.checkpoint as checkpoint
from sgn_nb.apps.classifier import SGNClassifier
save, saves = checkpoint.Run.save, []
def killing(self, *args):
    save(self, *args)
    saves.append(1)
    if len(saves) == 7: os._exit(9)
if sys.argv[2] == 'kill':
    checkpoint.Run.save = killing
    checkpoint.Run.is_due = lambda self: bool(self.checkpoint)
X = np.random.default_rng(0).normal(size=(200, 5))
y = X[:, 0] > 0
clf = SGNClassifier(epochs=12, val_share=.1, checkpoint=sys.argv[1] or None).fit(X, y)
votes = clf.labels_['votes']
print(repr(clf.predict_proba(X).sum(0).tolist()), votes.sum().item(), repr(votes[:, 0].tolist()))
'''

@slow
def test_killed_and_gone_on(tmp_path):
    """Killed in mid-epoch and started again: the numbers, and the votes, of a run that nobody
    disturbed."""
    whole = run(sys.executable, '-c', KILLED, '', '', cwd=tmp_path).stdout
    killed = run(sys.executable, '-c', KILLED, tmp_path/'c', 'kill', cwd=tmp_path, ok=False)
    assert killed.returncode == 9
    assert run(sys.executable, '-c', KILLED, tmp_path/'c', '', cwd=tmp_path).stdout == whole

def test_the_users_random_numbers_are_left_alone():
    "Fitting draws nothing from the generators of the program around it."
    X, y = table(50)
    torch.manual_seed(1)
    np.random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    SGNClassifier(epochs=2).fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]

@pytest.mark.parametrize('missing', ['onnx'])
def test_an_extra_that_is_missing_is_named(missing, tmp_path):
    "Without an optional package, the sentence says what to install."
    code = f'''import sys; sys.modules['{missing}'] = None
import numpy as np
from sgn_nb.apps.classifier import SGNClassifier
from sgn_nb.apps.label_report import label_report
clf = SGNClassifier(epochs=1).fit(np.eye(8), [0, 1]*4)
try: {"clf.to_onnx('x.onnx')" if missing == 'onnx' else 'label_report(clf)'}
except ImportError as e: print(e)'''
    complaint = run(sys.executable, '-c', code, cwd=tmp_path).stdout
    assert f'sgn_nb[{"export" if missing == "onnx" else "report"}]' in complaint
    assert list(tmp_path.iterdir()) == []
