"""The recipe for all of CIFAR-10, on a tiny stand-in: stopped within an epoch it goes on; images,
data or a checkpoint that it is not for are a sentence, before the first step."""
import time
from dataclasses import replace
import pytest
import torch
from conftest import ROOT
from sgn_nb.data.examples import from_arrays
from sgn_nb.experiments.plans import read_grid
from sgn_nb.experiments.runner import checkpoint_path, plan_run, run
from sgn_nb.methods.base import Method
from sgn_nb.training.checkpoint import OutOfTime, stop_at

GRID = read_grid(ROOT/'experiments/cifar10_two_cores.toml')
FIRST = next(s for s in GRID if s.method == 'sgn' and s.epochs == 96)

def photos(n=60, size=16):
    "Images of noise, of two classes, half of them to test with."
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (2*n, 3, size, size), generator=g).byte()
    y = torch.arange(2*n)%2
    return from_arrays(x[:n], y[:n], x[n:], y[n:], true=y[:n], name='cifar10-jpeg')

def tiny(method='sgn', **fields):
    "The grid's recipe, for sixty images."
    spec = next(s for s in GRID if s.method == method and s.epochs == 96)
    return replace(spec, **dict(n_train=60, batch=9, epochs=2) | fields)

@pytest.fixture
def no_steps(monkeypatch):
    "Called, it makes every training fail at its first step."
    def fail(method): raise AssertionError('a step')
    return lambda: monkeypatch.setattr(Method, 'end_step', fail)

@pytest.mark.parametrize('method', ['ce', 'elr', 'sgn'])
def test_it_goes_on_within_an_epoch(tmp_path, method):
    "Stopped again and again, in the middle of epochs too, it ends as if nothing had happened."
    spec, data = tiny(method), photos()
    whole = run(spec, tmp_path/'whole', 'cpu', data=data)
    out, places = tmp_path/'parts', []
    for _ in range(20):
        try:
            with stop_at(time.perf_counter()): record = run(spec, out, 'cpu', data=data)
        except OutOfTime:
            state = torch.load(checkpoint_path(whole.id, out, 0), weights_only=True)
            places.append((state['epoch'], state['step']))
        else: break
    assert any(step for _,step in places), places
    assert record.curve == whole.curve

def test_another_size(tmp_path, no_steps):
    "Images that are too small for the network."
    no_steps()
    with pytest.raises(ValueError, match='airbench takes images of 16 pixels or more, got 8 x 8'):
        run(tiny(), tmp_path, 'cpu', data=photos(size=8))
    assert not list(tmp_path.iterdir())

def test_another_data_set(tmp_path, no_steps):
    "A folder of the right name with fewer images than the recipe is for; a table."
    no_steps()
    with pytest.raises(ValueError, match='n_train must be in 1..60, got 50000'):
        run(FIRST, tmp_path, 'cpu', data=photos())
    y = torch.arange(60)%2
    table = from_arrays(torch.zeros(60, 4), y, true=y)
    with pytest.raises(ValueError, match='crops must be none unless inputs are images'):
        run(tiny(pad=0, alternate=False), tmp_path, 'cpu', data=table)
    assert not list(tmp_path.iterdir())

def test_a_checkpoint_of_another_recipe(tmp_path, no_steps):
    "Under this run's name, but made with another momentum."
    theirs, ours = (plan_run(tiny(momentum=m), 60) for m in (.9, .85))
    run(theirs.spec, tmp_path, 'cpu', data=photos())
    old, new = (checkpoint_path(p.id, tmp_path, 0) for p in (theirs, ours))
    old.rename(new)
    no_steps()
    with pytest.raises(ValueError, match='is of another run: momentum was 0.9, now 0.85'):
        run(ours.spec, tmp_path, 'cpu', data=photos())
    assert not (tmp_path/f'{ours.id}.json').exists()
