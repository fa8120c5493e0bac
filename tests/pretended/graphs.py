"The device's part of a step asks nothing of the host, so that it can be recorded as a graph."
from unittest import mock
import pytest
from device import CUDA, pretended
from sgn_nb.data.batches import evaluation_batches
from sgn_nb.methods.registry import METHODS
from sgn_nb.spec import Optimisation
from sgn_nb.training.loop import fit, fit_together
from trainings import (
    TRANSITION, Meter, make_batches, make_method, noisy_data, pretended_accelerator)


class Remembered:
    "Stands for `CudaGraphs`: calls a step's functions again, and keeps what they asked for."
    audit, replays = None, []
    def __init__(self, n): pass
    @staticmethod
    def is_for(device): return device.type == 'cuda'
    def call(self, functions): return [f() for f in functions]
    def record(self, functions, generators=()):
        def replay():
            before = self.audit.tally.copy()
            outcomes = self.call(functions)
            self.replays.append(self.audit.tally - before)
            return outcomes
        return replay

def train_together(*names, epochs=2):
    """Epochs of three steps, the first steps as they are, the others recorded: what fit returns for
    each method, the tally of each replay, that of a step with all around it."""
    data, begun = noisy_data(), []
    with pretended() as audit, mock.patch('sgn_nb.training.graphs.CudaGraphs', Remembered):
        Remembered.audit, Remembered.replays = audit, []
        accelerator, meter = pretended_accelerator(precision='bf16'), Meter(audit)
        evals = {'test': evaluation_batches(data, data.test, device=CUDA)}
        for name in names:
            settings = {'T': TRANSITION} if name == 'forward' else {}
            method = make_method(name, 'small_cnn', data, **settings)
            observers = [] if begun else [meter]
            begun.append(fit.begin(method, make_batches(data), evals,
                                   Optimisation(epochs=epochs, lr=.02), accelerator, observers))
        fit_together(begun)
        assert not audit.tally.mixed
    return [t.finish() for t in begun], Remembered.replays, meter.tallies[-1] - meter.tallies[-2]

@pytest.mark.parametrize('name', METHODS)
def test_a_step_can_be_recorded(name):
    """No waiting and no copy, neither in what is recorded nor around it. DivideMix warms up for an
    epoch, and asks the CPU in the first step of the others, which is not recorded."""
    epochs = 5 if name == 'dividemix' else 2
    (result,), replays, step = train_together(name, epochs=epochs)
    assert result['graph'] and len(replays) >= 2
    for tally in (*replays, step): assert not tally.waits and not tally.copies

def test_around_a_graph_little_is_launched():
    """The batch, and what fills and empties a recording. A second training adds its batch and its
    time; tensors of both are copied together."""
    around = []
    for names in (['sgn'], ['sgn', 'sgn']):
        _, replays, step = train_together(*names)
        around.append((step.launches - replays[-1].launches).total())
    assert around[1] < 2*around[0] <= 80, around
