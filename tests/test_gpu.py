"""What only a GPU shows, part by part: `make test FLAGS=gpu`. And, without one, that the scripts of
`make gpu` run, count honestly, keep their time, and write a record that the tables can read."""
import math
import sys
import warnings
import pytest
import torch
from conftest import ROOT, gpu, slow
from sgn_nb.bench import gpu_goal_table, gpu_table, kernel_table, newest_gpu_record
from sgn_nb.methods.registry import METHODS

sys.path.insert(0, str(ROOT/'tools'))
import gpu_check
import gpu_speed
from gpu_cases import Cases

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')


def check(part, device, *methods):
    "All cases of a part, of which none may fail."
    cases = Cases(math.inf)
    gpu_check.check_part(part, gpu_check.Setup(device, methods), cases)
    assert cases.passed and not cases.failed, cases.failed

@gpu
@pytest.mark.parametrize('part', gpu_check.PARTS)
def test_on_a_gpu(part):
    "A GPU computes what a CPU computes, by every way, and no step waits for it."
    assert torch.cuda.is_available(), 'FLAGS=gpu, and PyTorch sees no GPU'
    check(part, 'cuda', *METHODS)

@pytest.mark.parametrize('part', ['parity', 'no_waiting', 'graph'])
def test_rehearsal(part):
    "The checks run, of two methods on a CPU."
    check(part, 'cpu', 'ce', 'sgn')

@slow
@pytest.mark.parametrize('part', gpu_check.PARTS)
def test_whole_rehearsal(part):
    "Every check runs, of methods of each kind on a CPU."
    check(part, 'cpu', 'sgn', 'nal', 'het', 'coteaching')

def ended(main, monkeypatch, *options):
    "Exit status of a script."
    monkeypatch.setattr(sys, 'argv', ['script', *options])
    with pytest.raises(SystemExit) as e: main()
    return e.value.code

@pytest.mark.parametrize('parts', ['limits,graphs,plain,kernels',
                                   pytest.param('methods,compiled', marks=slow)])
def test_the_record_makes_tables(monkeypatch, tmp_path, parts):
    "What is measured is what the speed page shows; nothing is made up where a part is missing."
    options = '--device', 'cpu', '--parts', parts, '--out', str(tmp_path)
    assert ended(gpu_speed.main, monkeypatch, *options) == 0
    record = newest_gpu_record(tmp_path)
    assert len(gpu_table(record).rows) == len(record['ways']) > 0
    assert len(kernel_table(record).rows) == len(record['kernels'])
    assert [r['measured'] for r in gpu_goal_table(record).rows] == ['–', '–']
    assert not record['failed'] and not record['left_out']

@no_gpu
@pytest.mark.parametrize('script, done', [(gpu_check, 'checked'), (gpu_speed, 'measured')])
def test_no_gpu(monkeypatch, tmp_path, script, done):
    "Without a GPU a sentence says so, and nothing is written."
    monkeypatch.setattr(gpu_speed, 'ROOT', tmp_path)
    assert f'no GPU here: nothing was {done}' in ended(script.main, monkeypatch)
    assert not [*tmp_path.rglob('*')]

def test_one_failure_stops_no_other(capsys):
    "What passed and what failed is counted, with the reason, and the last line has the sum."
    def fails(): raise ValueError('the reason')
    cases = Cases(math.inf)
    parts = {'a': {'x': fails, 'y': lambda: 1.}, 'b': {'z': lambda: 2.}}
    results = {part: dict(cases.results(part, tried)) for part, tried in parts.items()}
    assert results == {'a': {'y': 1.}, 'b': {'z': 2.}}
    with pytest.raises(SystemExit) as e: cases.finish()
    printed = capsys.readouterr().out
    assert e.value.code == 1 and printed.splitlines()[-1] == '2 passed, 1 failed'
    assert 'FAILED a x' in printed and 'the reason' in printed

def test_what_does_not_fit_is_left_out(capsys, monkeypatch):
    "A case that would take as long as the last one is not begun where so much time is not left."
    clock = [0.]
    monkeypatch.setattr('time.perf_counter', lambda: clock[0])
    def takes(seconds):
        def case(): clock[0] += seconds
        return case
    cases = Cases(4000)
    assert [*cases.results('a', {'x': takes(3000), 'y': takes(3000)})] == [('x', None)]
    assert [*cases.results('b', {'z': takes(900)})] == [('z', None)]
    with pytest.raises(SystemExit) as e: cases.finish()
    lines = capsys.readouterr().out.splitlines()
    assert e.value.code == 0
    assert lines == ['left out, there was no time: a y', '2 passed, 0 failed']

def test_a_difference_is_found():
    "The checks fail where they should: another loss, a fallback."
    with pytest.raises(AssertionError, match='loss 2 instead of 1: off by 1'):
        gpu_check.check_same_loss({'loss': 1.}, {'loss': 2.}, .1)
    with pytest.raises(RuntimeWarning), gpu_check.no_fallback():
        warnings.warn('torch.compile failed', RuntimeWarning)
