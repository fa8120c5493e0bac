"""Do records come out again? On the machine that made them bit for bit; on others, where sums are made
in another order, the first epochs' losses to three digits."""
import json
import os
import subprocess
import sys
from dataclasses import replace
import pytest
import torch
from conftest import FLAGS, ROOT, slow
from sgn_nb.experiments.records import load_records, select
from sgn_nb.spec import Spec
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
print(json.dumps([*curve]))
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
    "The losses of the first epochs everywhere; where the machine is the same, all of the record."
    is_same = is_same_machine(record)
    curve = run_again(record, epochs=0 if is_same else EPOCHS)
    losses = [row['loss'] for row in curve[:EPOCHS]]
    assert losses == pytest.approx([row['loss'] for row in record.curve[:EPOCHS]], rel=1e-3)
    if not is_same or curve == record.curve: return
    pytest.skip('the same instructions, but other bits: caches of another size change blocks of sums')


def cell(archive, **want):
    "One record of a file."
    record, = select(load_records(ROOT/'records'/archive), **want)
    return record


@pytest.mark.parametrize('method', ['ce', 'sgn'])
def test_digits(method):
    assert_recomputed(cell('digits_constant_rates.jsonl', method=method, noise='sym-0.4', seed=100,
                           lr=.01))


@data
@slow
def test_photographs():
    assert_recomputed(cell('cifar_constant.jsonl', method='sgn', noise='sym-0.4', seed=0))


def test_another_learning_rate_is_noticed():
    record = cell('digits_constant_rates.jsonl', method='ce', noise='none', seed=100, lr=.01)
    fields = vars(record.spec) | {'lr': record.spec.lr*1.5}
    other = replace(record, spec=Spec(**fields))
    with pytest.raises(AssertionError): assert_recomputed(other)
