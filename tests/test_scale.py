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
