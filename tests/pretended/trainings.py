"Short trainings on the pretended device, and what a step of them asks of it."
import warnings
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from device import CUDA, pretended, unset_fake_temporarily
from sgn_nb.data.batches import Augment, Batches, Mixup, evaluation_batches
from sgn_nb.data.examples import corrupt, from_arrays, split
from sgn_nb.methods.registry import METHODS
from sgn_nb.nets import net_maker
from sgn_nb.spec import Optimisation
from sgn_nb.training.loop import PRECISIONS, fit

K, SHAPE = 10, (3, 16, 16)

# Settings that make a method cheaper, or the same whatever the length of the run.
SETTINGS = {'het': {'S': 20}, 'sgn': {'alpha': .9, 'beta': .9}, 'dividemix': {'warm_up': 1.}}
TRANSITION = (torch.eye(K)*.6 + .04).tolist()


class Meter:
    "An observer of a training: the `Tally` after each step."
    def __init__(self, audit): self.audit,self.tallies = audit,[]
    def observe(self, step, y, i, epoch): self.tallies.append(self.audit.tally.copy())
    def end_epoch(self): return {}
    def state_dict(self): return {}
    def load_state_dict(self, state): pass

    def step(self):
        "The last one: inside of an epoch, when all is warm."
        return self.tallies[-1] - self.tallies[-2]


def arrays(n=36):
    "Images that are nothing but noise, and their labels."
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=rng)
    return x,torch.arange(n)%K

def noisy_data():
    "24 examples to train on and 12 to test on."
    x,y = arrays()
    data = from_arrays(x[:24], y[:24], x[24:], y[24:], true=y[:24], K=K, name='noise')
    return split(corrupt(data, 'sym-0.4', 0), 0, 0)

def pretended_accelerator(device='cuda', precision='fp32'):
    "`make_accelerator` for the device that only PyTorch believes in."
    AcceleratorState._reset_state(reset_partial_state=True)
    mixed = 'no' if precision == 'fp16' else PRECISIONS[precision]
    accelerator = Accelerator(cpu=True, mixed_precision=mixed)
    PartialState._shared_state['device'] = CUDA
    if precision == 'fp16':
        accelerator.native_amp = True
        AcceleratorState._shared_state['_mixed_precision'] = 'fp16'
        accelerator.scaler = torch.amp.GradScaler('cuda')
    accelerator.state.__dict__['device'] = CUDA
    assert accelerator.device == CUDA
    return accelerator

def make_batches(data, pad=2):
    "Of 8 images, shifted and mirrored."
    augment = Augment(pad, flip=True)
    return Batches(data, data.train, 8, 0, drop_last=True, augment=augment, device=CUDA)

def make_method(name, net, data, seed=0, **settings):
    "Its weights are true ones; `fit` moves them."
    with unset_fake_temporarily():
        torch.manual_seed(seed)
        settings = {**SETTINGS.get(name, {}), **settings}
        return METHODS[name](net_maker(net, SHAPE), K, data.train.y, **settings)

def measure(name, net='fast_cnn', precision='bf16', mixup=False, data=None, pad=2, **settings):
    """Three steps of a method's last stage, with three before them if these are its warm-up, and an
    evaluation: the whole `Tally`, a step's, the curve."""
    warnings.simplefilter('ignore')
    if name == 'forward': settings = {'T': TRANSITION, **settings}
    data = data or noisy_data()
    with pretended() as audit:
        meter = Meter(audit)
        train = make_batches(data, pad)
        if mixup: train = Mixup(train, K)
        evals = {'test': evaluation_batches(data, data.test, device=CUDA)}
        method = make_method(name, net, data, **settings)
        epochs = 2 if name == 'dividemix' else 1
        result = fit(method, train, evals, Optimisation(epochs=epochs, lr=.02),
                     pretended_accelerator(precision=precision), [meter])
        return audit.tally,meter.step(),result['curve']
