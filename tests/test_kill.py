"""A run may be killed with `kill -9` at any moment: started again, it ends with the record that it
would have had."""
import json
import os
import signal
import subprocess
import sys
import time
from random import Random
import pytest
from conftest import ended, posix, slow

pytestmark = posix

# As anyone would write it, except for the seconds between two checkpoints. In the end the folder
# holds one record, for all who load it.
TRAIN = '''
import json
import sys
from functools import partial
from sgn_nb.experiments import runner
from sgn_nb.experiments.records import load_records
from sgn_nb.spec import Spec
spec, out, save_every = sys.argv[1:]
runner.Checkpoint = partial(runner.Checkpoint, every=float(save_every))
record = runner.run(Spec(**json.loads(spec)), out, device='cpu')
assert load_records(out) == [record]
'''
SMALL = dict(n_train=200, batch=30, watch=3, net='mlp', epochs=12, eval_share=1)  # 72 steps
CASES = {m: dict(method=m) for m in ('ce', 'sgn', 'elr')}              # elr remembers every example
CASES['forward'] = dict(method='forward', epochs=4)                    # two trainings
CASES['sgn_cnn'] = dict(method='sgn', net='small_cnn', epochs=4)

@pytest.fixture
def train(tmp_path):
    "Arguments of a process that trains a spec into a folder, with a checkpoint after every step."
    script = tmp_path/'train.py'
    script.write_text(TRAIN)
    return lambda spec, out, save_every=0: (script, json.dumps(SMALL | spec), out, save_every)

@pytest.fixture
def undisturbed(start, train, tmp_path):
    "The record of a spec whose training nobody disturbed or looked at."
    def undisturbed(spec):
        status, output = ended(start(*train(spec, tmp_path/'undisturbed', save_every=30)))
        assert status == 0, output
        return record(tmp_path/'undisturbed')
    return undisturbed

def record(out):
    """A folder's one record, without versions and seconds: `spec`, `labels`, `pixels`, `watched`,
    `curve` and more."""
    path, = out.glob('*.json')
    return {k: v for k,v in json.loads(path.read_text()).items() if k != 'env'}

def kill(p, out, saves, delay):
    """SIGKILL `p` so many seconds after we have seen it write so many checkpoints; False if it had
    ended by then."""
    def times(): return [path.stat().st_mtime_ns for path in out.glob('*.ckpt')]
    last = times()
    while p.is_alive() and saves:
        time.sleep(.001)
        current = times()
        if current == last: continue
        last = current
        saves -= 1
    time.sleep(delay)
    p.kill()
    p.join()
    return p.exitcode == -signal.SIGKILL


@slow
@pytest.mark.parametrize('name', CASES)
def test_killed_again_and_again(start, train, undisturbed, tmp_path, name):
    """Killed while it loads, trains, evaluates or writes, until it is done: the undisturbed record,
    bit for bit, whatever half-written files lie about."""
    spec, out, rng = CASES[name], tmp_path/'out', Random(name)
    whole = undisturbed(spec)
    out.mkdir()
    for ending in 'json', '0.ckpt': (out/f"{whole['id']}.{ending}.1.tmp").write_text('{"half')
    limit = 3 if name == 'sgn_cnn' else 10
    kills = 0
    while kill(p := start(*train(spec, out)), out, rng.randint(0, limit), rng.uniform(0, .05)):
        kills += 1
    status, output = ended(p)
    assert status == 0, output
    assert kills >= 3
    assert record(out) == whole

def test_killed_and_resumed_by_new_processes(train, undisturbed, tmp_path):
    """The same for two processes that share nothing, not even the order of Python's sets, started
    as a user starts them."""
    out, env = tmp_path/'out', {**os.environ, 'OMP_NUM_THREADS': '1'}
    cmd = [sys.executable, *map(str, train(CASES['sgn_cnn'], out))]
    whole = undisturbed(CASES['sgn_cnn'])
    p = subprocess.Popen(cmd, env=env)
    while p.poll() is None and not list(out.glob('*.ckpt')): time.sleep(.01)
    p.kill()
    assert p.wait() == -signal.SIGKILL
    assert not list(out.glob('*.json'))
    assert subprocess.Popen(cmd, env=env).wait(120) == 0
    assert record(out) == whole

def test_killed_between_checkpoint_and_record(undisturbed, tmp_path):
    "The next start writes the record, and trains nothing: same checkpoint, same seconds."
    undisturbed(CASES['sgn'])
    path, = (tmp_path/'undisturbed').glob('*.json')
    ckpt = path.with_suffix('.0.ckpt')
    first = json.loads(path.read_text())
    saved = ckpt.stat().st_mtime_ns
    path.unlink()
    undisturbed(CASES['sgn'])
    second = json.loads(path.read_text())
    assert ckpt.stat().st_mtime_ns == saved
    assert second['env']['seconds'] == first['env']['seconds']
    assert record(path.parent) == {k: v for k,v in first.items() if k != 'env'}

@slow
@pytest.mark.parametrize('method', ['ce', 'sgn'])
def test_two_at_once(start, train, undisturbed, tmp_path, method):
    """Two processes with one spec and one folder get in nobody's way: both end well, the record is
    the undisturbed one."""
    out = tmp_path/'out'
    for p in [start(*train(CASES[method], out)) for _ in range(2)]:
        status, output = ended(p)
        assert status == 0, output
    assert record(out) == undisturbed(CASES[method])
    assert not list(out.glob('*.tmp'))
