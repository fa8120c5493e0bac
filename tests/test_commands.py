"""What a user mistypes, or a disk spoils, is a sentence: exit status 2, no traceback, nothing
written."""
import json
import os
import time
from signal import SIGINT
import numpy as np
import pytest
from conftest import BIN, ended, posix, run

ARGS = '--n-train 200 --net mlp --batch 30 --epochs 2 --method ce --device cpu'.split()

@pytest.fixture
def sgn_train(start):
    "The installed command; later arguments win."
    return lambda out, *args: ended(start(BIN/'sgn_train', *ARGS, '--out', out, *args))

def contents(folder):
    "Name -> time and bytes, of every file."
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}

def is_a_sentence(status, output, *words):
    "Exit status 2 and one line, with these words."
    assert status == 2, output
    assert output.startswith('sgn_train: ') and output.count('\n') == 1, output
    for o in words: assert str(o) in output, output


BAD = {'unknown noise':     ('--noise', 'sim-0.4', "did you mean 'sym'"),
       'rate above 1':      ('--noise', 'sym-1.4', 'rate', '1.4'),
       'rate not a number': ('--noise', 'sym-nan', 'rate', 'nan'),
       'unknown method':    ('--method', 'sng', "did you mean 'sgn'"),
       'unknown net':       ('--net', 'smallcnn', "did you mean 'small_cnn'"),
       'unknown data set':  ('--dataset', 'digit', "did you mean 'digits'"),
       'unknown schedule':  ('--schedule', 'linar', "did you mean 'linear'"),
       'unknown device':    ('--device', 'tpu', "unknown device 'tpu'"),
       'unknown precision': ('--precision', 'fp8', "unknown precision 'fp8'"),
       'batch too large':   ('--batch', '181', 'batch must be in 1..180', '181'),
       'no examples':       ('--n-train', '0', 'n_train must be a whole number in [1, inf)', '0'),
       'empty validation':  ('--n-train', '2', 'empty split'),
       'no epochs':         ('--epochs', '0', 'epochs must be a whole number in [1, inf)', '0'),
       'negative rate':     ('--lr', '-1', 'lr must be a number in [0, inf)', '-1'),
       'gamma 0':           ('--settings', 'gamma=0', 'gamma must be a number in (0, 1]', '0'),
       'gamma a word':      ('--settings', 'gamma=big', 'gamma', 'big'),
       'beta 1':            ('--settings', 'beta=1', 'beta must be a number in [0, 1)', '1'),
       'unknown setting':   ('--settings', 'gama=.1', "did you mean 'gamma'"),
       'no such switch':    ('--settings', 'correct=maybe', 'correct', 'maybe'),
       'no value':          ('--settings', 'gamma', 'name=value')}

@pytest.mark.parametrize('name', BAD)
def test_bad_argument(sgn_train, tmp_path, name):
    "The sentence names argument, value and what is allowed; not even the folder is made."
    option, value, *words = BAD[name]
    is_a_sentence(*sgn_train(tmp_path/'out', '--method', 'sgn', option, value), *words)
    assert not (tmp_path/'out').exists()

SPOILT = {'half':       lambda b: b[:len(b)//2],
          'empty':      lambda b: b'',
          'text':       lambda b: b'not a checkpoint\n',
          'lost block': lambda b: b[:len(b)//2] + bytes(4096) + b[len(b)//2 + 4096:]}

@pytest.mark.parametrize('name', SPOILT)
def test_spoilt_checkpoint(sgn_train, tmp_path, name):
    "A damaged checkpoint is named and left as it is, for its owner to look at or delete."
    assert sgn_train(tmp_path)[0] == 0
    (record,), (ckpt,) = tmp_path.glob('*.json'), tmp_path.glob('*.ckpt')
    record.unlink()
    ckpt.write_bytes(SPOILT[name](ckpt.read_bytes()))
    files = contents(tmp_path)
    is_a_sentence(*sgn_train(tmp_path), ckpt)
    assert contents(tmp_path) == files

def test_checkpoint_of_another_run(sgn_train, tmp_path):
    """Under this run's name but made with another rate: the sentence says file, setting and both
    values."""
    for lr in '.05', '.01': assert sgn_train(tmp_path, '--lr', lr)[0] == 0
    specs = {p: json.loads(p.read_text())['spec'] for p in tmp_path.glob('*.json')}
    ckpts = {spec['lr']: p.with_suffix('.0.ckpt') for p, spec in specs.items()}
    ckpts[.01].replace(ckpts[.05])
    for o in tmp_path.glob('*.json'): o.unlink()
    files = contents(tmp_path)
    is_a_sentence(*sgn_train(tmp_path), ckpts[.05], 'lr was 0.01, now 0.05')
    assert contents(tmp_path) == files

def test_spoilt_record(sgn_train, tmp_path):
    "A record that is none is named and left as it is."
    assert sgn_train(tmp_path)[0] == 0
    record, = tmp_path.glob('*.json')
    record.write_bytes(record.read_bytes()[:100])
    files = contents(tmp_path)
    is_a_sentence(*sgn_train(tmp_path), record)
    assert contents(tmp_path) == files

@pytest.mark.parametrize('out', ['file', 'file/below'])
def test_folder_that_cannot_be(sgn_train, tmp_path, out):
    "A file where the folder should be is named, before a step is taken."
    (tmp_path/'file').write_text('mine')
    is_a_sentence(*sgn_train(tmp_path/out), tmp_path/'file')
    assert (tmp_path/'file').read_text() == 'mine'

def test_loss_that_explodes(sgn_train, tmp_path):
    "Not a mistyped word, but a sentence all the same: it says step and epoch."
    status, output = sgn_train(tmp_path/'out', '--lr', '1e12', '--method', 'sgn')
    assert status and 'the loss was not finite at step' in output, output
    assert 'Traceback' not in output, output


# A file of arrays

@pytest.fixture
def clouds(tmp_path):
    "Two clouds of points in a folder of the user's; nobody knows whether the labels are true."
    (tmp_path/'home').mkdir()
    y = np.arange(200) % 2
    x = np.random.default_rng(0).normal(size=(200, 4)) + y[:, None]
    np.savez(tmp_path/'home'/'clouds.npz', x=x, y=y)
    return tmp_path/'home'

def records(out): return {p.name: p.read_text() for p in out.glob('*.json')}

def test_arrays_are_known_by_name(sgn_train, clouds, tmp_path):
    """The typed path is in no record, id or file name; noise is none, since no true labels are
    known; a grid knows the same run by the same name."""
    out, path = tmp_path/'out', clouds/'clouds.npz'
    status, output = sgn_train(out, '--dataset', path)
    assert status == 0, output
    (name, text), = records(out).items()
    record = json.loads(text)
    assert name.startswith('clouds_none_ce_s0_')
    assert record['spec']['dataset'] == 'clouds' and record['realised_rate'] is None
    assert str(tmp_path) not in text and 'npz' not in text
    grid = tmp_path/'arrays.toml'
    grid.write_text('dataset = "clouds"\nnoise = "none"\nmethod = "ce"\nn_train = 200\n'
                    'net = "mlp"\nbatch = 30\nepochs = 2\npad = 0\n')
    run(BIN/'sgn_grid', grid, '--out', tmp_path/'grid', '--device', 'cpu', SGN_DATA=str(clouds))
    of_grid = records(tmp_path/'grid')
    assert list(of_grid) == [name]
    assert json.loads(of_grid[name])['pixels'] == record['pixels']

def test_a_grid_takes_names(clouds, tmp_path):
    "A path in a grid would be in every record: the sentence says what to write instead."
    grid = tmp_path/'arrays.toml'
    grid.write_text(f'dataset = "{clouds/"clouds.npz"}"\n')
    p = run(BIN/'sgn_grid', grid, '--out', tmp_path/'grid', ok=False)
    assert p.returncode == 2, p.stderr
    assert 'line 1: dataset must be a name' in p.stderr and 'SGN_DATA' in p.stderr, p.stderr

ARRAYS = {'words for labels': (dict(y=['a', 'b']*10), 'y must hold class ids 0, 1, 2, ...'),
          'labels below 0':   (dict(y=[-1, 0]*10), 'y must hold class ids 0, 1, 2, ..., got -1'),
          'true words':       (dict(y=[1, 0]*10, true=['a', 'b']*10), 'true must hold class ids')}

@pytest.mark.parametrize('name', ARRAYS)
def test_labels_that_are_none(sgn_train, tmp_path, name):
    "The sentence names the array."
    arrays, words = ARRAYS[name]
    np.savez(tmp_path/'a.npz', x=np.zeros((20, 3)), **arrays)
    is_a_sentence(*sgn_train(tmp_path/'out', '--dataset', tmp_path/'a.npz'), words)


STOPPED = '''
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started from
from sgn_nb.apps import cli
if __name__ == '__main__': getattr(cli, sys.argv[1])(sys.argv[2:])  # a pool reads this file, too
'''

@posix
@pytest.mark.parametrize('command, works', [('main_train --epochs 100000', 'loss='),
                                            ('main_demo --epochs 100000', 'loss='),
                                            ('main_grid FILE', 'epoch/s')])
def test_control_c(start, tmp_path, command, works):
    "One line and the status that shells give it; no traceback."
    (tmp_path/'long.toml').write_text('epochs = 100000\n')
    (tmp_path/'stopped.py').write_text(STOPPED)
    name, *args = command.replace('FILE', str(tmp_path/'long.toml')).split()
    options = '--device', 'cpu', '--out', tmp_path/'out'
    p = start(tmp_path/'stopped.py', name, *args, *options)
    end = time.time() + 60
    # Before it works, PyTorch is imported, and Ctrl-C has been lost in there.
    while not (p.log.exists() and works in p.log.read_text()) and time.time() < end:
        time.sleep(.01)
    time.sleep(.3)
    os.kill(p.pid, SIGINT)
    status, output = ended(p)
    assert status == 130 and 'Traceback' not in output, output
    assert output.splitlines()[-1] == f"{name.replace('main', 'sgn')}: stopped", output
