"""A label report of many classes grows with its labels, not with pairs of classes."""
import sys
import pytest
from conftest import run

resource = pytest.importorskip('resource')           # Windows has none

PROGRAM = """
import resource, sys
import numpy as np
from sgn_nb.apps.label_page import report_page
from sgn_nb.apps.label_report import caveats, evidence_from_probs, make_report, noise_estimate
K, N = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
y = np.arange(N) % K
p = rng.random((N, K), dtype=np.float32)**4
believed = np.where(rng.random(N) < .2, rng.integers(0, K, N), y)
p[np.arange(N), believed] += p.sum(1)
e = evidence_from_probs(p/p.sum(1, keepdims=True), y)
e.labels['held_out'][:] = False
e.labels['held_out'][::10] = True
estimate = noise_estimate(e.labels)
report = make_report(e, estimate)
page = report_page(e, report, estimate)
caveats(e, estimate)
kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1 if sys.platform == 'darwin' else 1024
print(len(report), len(estimate.confusions), len(page), kilobytes*unit)
"""

def test_a_thousand_classes():
    "Five images a class: two gigabytes are enough, and the page stays small."
    labels, pairs, page, memory = map(int, run(sys.executable, '-c', PROGRAM, 1000, 5000).stdout.split())
    assert labels == 5000 and pairs <= 6000
    assert page < 1_000_000 and memory < 2e9

FIT = """
import resource, sys
import torch
from torch import nn
from sgn_nb.apps.classifier import SGNClassifier
N = int(sys.argv[1])
x = torch.randint(256, (N, 3, 224, 224), dtype=torch.uint8).numpy()
net = nn.Sequential(nn.AvgPool2d(32), nn.Flatten())
clf = SGNClassifier('ce', net=net, epochs=1, batch=16, flip=True, val_share=.1)
clf.fit(x, torch.arange(N) % 2)
kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(kilobytes*(1 if sys.platform == 'darwin' else 1024))
"""

def test_photographs_are_in_memory_once():
    "Neither the split nor the order in which training wants them copies the images."
    few, many = 300, 5000
    a, b = (int(run(sys.executable, '-c', FIT, n).stdout) for n in (few, many))
    assert b-a < 1.3*(many-few)*3*224*224
