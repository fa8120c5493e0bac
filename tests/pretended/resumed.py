"A run that was cut off on a GPU goes on there as if nothing had happened."
from itertools import islice
import pytest
from conftest import slow
from device import CUDA, pretended
from sgn_nb.data.batches import evaluation_batches
from sgn_nb.methods.registry import METHODS
from sgn_nb.spec import Optimisation
from sgn_nb.training.checkpoint import Checkpoint
from sgn_nb.training.loop import fit
from trainings import (
    TRANSITION, make_batches, make_method, noisy_data, pretended_accelerator)

class CutOff(Exception): pass

def cut_off(train, after):
    "Its second epoch ends in the middle, after so many batches."
    whole = train.epoch
    def epoch(e, start=0):
        yield from whole(e, start) if e == 0 else islice(whole(e, start), after)
        if e == 1: raise CutOff
    train.epoch = epoch

def curve(name, precision, checkpoint=None, cut=None):
    "Two epochs of three steps: loss, accuracy and all other figures."
    data = noisy_data()
    settings = {'T': TRANSITION} if name == 'forward' else {}
    with pretended():
        train = make_batches(data)
        if cut: cut_off(train, cut)
        evals = {'test': evaluation_batches(data, data.test, device=CUDA)}
        method = make_method(name, 'fast_cnn', data, **settings)
        result = fit(method, train, evals, Optimisation(epochs=2, lr=.02),
                     pretended_accelerator(precision=precision), checkpoint=checkpoint)
    return result['curve']

@pytest.mark.parametrize('name, precision', [
    *((name, 'bf16') for name in METHODS), pytest.param('ce', 'fp16', marks=slow)])
def test_a_run_goes_on(name, precision, tmp_path):
    "Cut off in an epoch, the curve is that of a run that nobody disturbed."
    checkpoint = Checkpoint(tmp_path/'run.ckpt', every=0.)
    with pytest.raises(CutOff): curve(name, precision, checkpoint, cut=2)
    assert curve(name, precision, checkpoint) == curve(name, precision)
