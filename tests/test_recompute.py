"""Do records come out again? On the machine that made them bit for bit; on others, where sums are made
in another order, the first epochs' losses to three digits."""
import json
import os
import subprocess
import sys
import pytest
import torch
from conftest import FLAGS, ROOT, slow
from sgn_nb.experiments.records import load_records, select
from sgn_nb.training.compat import cpu_instructions

data = pytest.mark.skipif('data' not in FLAGS or 'SGN_DATA' not in os.environ,
                          reason='needs SGN_DATA: make test FLAGS=data')
EPOCHS = 3         # that are compared on other machines

PROGRAM = '''
import json, sys, tempfile
from sgn_nb.experiments.runner import run
from sgn_nb.spec import Spec
rows, epochs = [], int(sys.argv[1])
class Enough(Exception): pass
def look(row):
    rows.append(row)
    if len(rows) == epochs: raise Enough
spec = Spec(**json.load(sys.stdin))
try: curve = run(spec, tempfile.mkdtemp(), 'cpu', on_epoch=look).curve
except Enough: curve = rows
print(json.dumps(curve))
'''


def is_same_machine(record):
    "Would the same sums be made in the same order?"
    env = record.env
    return (env['torch'], env['instructions']) == (torch.__version__, cpu_instructions())


def run_again(record, epochs):
    "The curve of a record's spec, run anew with as many threads; after some epochs it is cut short."
    threads = str(record.env['threads'])
    env = os.environ | {'OMP_NUM_THREADS': threads, 'MKL_NUM_THREADS': threads}
    command = [sys.executable, '-c', PROGRAM, str(epochs)]
    fields = json.dumps(vars(record.spec))
    done = subprocess.run(command, input=fields, capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_recomputed(record):
    "All of a record where the machine is the same; elsewhere, the losses of its first epochs."
    if is_same_machine(record):
        curve = run_again(record, epochs=0)
        assert curve == record.curve
        return
    curve = run_again(record, EPOCHS)
    losses = [row['loss'] for row in curve]
    assert losses == pytest.approx([row['loss'] for row in record.curve[:EPOCHS]], rel=1e-3)


def cell(archive, **want):
    "One record of a file."
    record, = select(load_records(ROOT/'records'/archive), **want)
    return record


def test_digits():
    assert_recomputed(cell('digits_annealed.jsonl', method='sgn', noise='sym-0.4', seed=0,
                           reweight=True, correct=True))


@data
@slow
def test_photographs():
    assert_recomputed(cell('cifar_constant.jsonl', method='sgn', noise='sym-0.4', seed=0,
                           reweight=True, correct=True))


def test_another_learning_rate_is_noticed():
    record = cell('digits_annealed.jsonl', method='ce', noise='none', seed=0)
    fields = vars(record.spec) | {'lr': record.spec.lr*1.01}
    other = type(record)(record.id, type(record.spec)(**fields), curve=record.curve, env=record.env)
    with pytest.raises(AssertionError): assert_recomputed(other)
