"A step of training asks a GPU for little: no waiting, no copy, and no more kernels than a table says."
import pytest
import torch
from conftest import slow
from device import CUDA, pretended
from launches import CELLS, TABLE, read_table
from trainings import measure

def params(cells):
    "Of the larger network those that take no long time."
    quick = 'ce', 'sgn'
    return [pytest.param(m, n, marks=[slow] if n == 'wrn28_2' and m not in quick else [])
            for m, n in cells]

@pytest.mark.parametrize('method, net', params(CELLS))
def test_a_step_is_left_alone(method, net):
    "All tensors on one device, no waiting, no copy, no more launches than before."
    whole, step, _ = measure(method, net)
    assert not whole.mixed and not whole.slow
    assert not step.waits and not step.copies
    allowed, counted = read_table()[method, net], step.launches.total()
    assert counted <= allowed, f'{counted} launches, {TABLE.name} allows {allowed}: {step.launches}'
    assert counted == allowed, (f'{counted} launches and no longer {allowed}. Well done: '
                                'python tests/test_pretended.py writes the table')

def test_mixed_examples_cost_no_waiting():
    "Mixup draws its weights for the whole epoch, on the device."
    _, step, _ = measure('sgn', mixup=True)
    assert not step.waits and not step.copies

def test_a_scaler_waits_once():
    """In float16 the scaler asks once a step whether a gradient is infinite, since the optimiser's
    step, Python code, depends on it. Nothing else waits."""
    _, step, _ = measure('ce', precision='fp16')
    assert [w.split('.')[1] for w in step.waits] == ['_local_scalar_dense']
    assert step.waits.total() == 1 and not step.copies

def test_the_average_warms_up_without_waiting():
    "The rate of a warming average is computed on the device."
    _, step, _ = measure('sgn', beta_warmup=True)
    assert not step.waits and not step.copies

def test_true_numbers():
    "What the pretended device computes is what the CPU computes, and it notices who waits."
    x = torch.arange(6.).view(2, 3)
    with pretended() as audit:
        on_gpu = x.to('cuda')
        square = on_gpu@on_gpu.T
        assert square.device == CUDA and square.is_cuda
        assert not audit.tally.waits - audit.tally.copies and audit.tally.launches.total() == 1
        before = audit.tally.copy()
        assert square.sum().item() == (x@x.T).sum().item()
        on_gpu[on_gpu > 1]
        square.cpu()
        after = audit.tally - before
    assert after.waits.total() == 3 and after.copies.total() == 1
    with pretended():
        with pytest.raises(RuntimeError, match='same device'): x.to('cuda')@x.T
