"""A step of training asks a GPU for little: no waiting, no copy, no more kernels than a table
allows."""
import numpy as np
import pytest
import torch
from PIL import Image
from device import CUDA, pretended
from launches import CELLS, TABLE, read_table
from sgn_nb.data.examples import Data, Examples
from sgn_nb.data.pixels import Files
from trainings import measure

@pytest.mark.parametrize('method, net', CELLS)
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

def test_streamed_images_cost_one_copy_a_step(tmp_path):
    "Images come from the disk through pinned memory, while the device is busy."
    for n in range(36):
        image = torch.full((20, 20, 3), n, dtype=torch.uint8).numpy()
        Image.fromarray(image).save(tmp_path/f'{n}.png')
    names = np.array([f'{n}.png'.encode() for n in range(36)])
    x = Files(tmp_path, names, np.full(36, 100), resize=20, crop=16)
    y = torch.arange(36)%10
    data = Data('noise', 10, Examples(x[:24], y[:24]), test=Examples(x[24:], y[24:]),
                mean=torch.zeros(3), std=torch.ones(3))
    _, step, _ = measure('ce', data=data, pad=0)
    assert not step.waits and step.copies.total() == 1

def test_true_numbers():
    "What the pretended device computes is what the CPU computes, and it notices who waits."
    x = torch.arange(6.).view(2, 3)
    with pretended() as audit:
        on_gpu = x.to('cuda')
        square = on_gpu@on_gpu.T
        assert square.device == CUDA and square.is_cuda
        assert audit.tally.copies.total() == audit.tally.launches.total() == 1
        before = audit.tally.copy()
        assert square.sum().item() == (x@x.T).sum().item()
        on_gpu[on_gpu > 1]
        square.cpu()
        after = audit.tally - before
    assert after.waits.total() == 3 and after.copies.total() == 1
    with pretended():
        with pytest.raises(RuntimeError, match='same device'): x.to('cuda')@x.T
