"""A pretended CUDA device with true numbers. PyTorch's `FakeTensorMode` says what is on which
device, a CPU computes, and a `Tally` counts what a GPU would have had to do.

Works in a process with `devices.c` loaded before PyTorch, see `tests/test_pretended.py`."""
import ctypes
import traceback
from collections import Counter
from contextlib import ExitStack, contextmanager
from unittest import mock
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException, DynamicOutputShapeException, FakeTensor, FakeTensorMode,
    UnsupportedFakeTensorException, unset_fake_temporarily)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device('cuda:0')
CPU = torch.device('cpu')
aten = torch.ops.aten

# Names of operations begin with one of these.
READS = 'aten._local_scalar_dense', 'aten.equal', 'aten.is_nonzero'     # a number for Python
COPIES = 'aten._to_copy', 'aten.copy_'
CONVOLUTIONS = 'aten.conv', 'aten.cudnn', 'aten._cudnn', 'aten.miopen'
FREE = ('aten.detach', 'aten.empty', 'aten.new_empty', 'aten.alias', 'aten._unsafe_view',
        'aten.lift_fresh', 'aten.set_', 'aten.resize', 'prim.device')   # memory or views only
MULTI = 'aten._foreach', 'aten._fused', 'aten._amp_foreach'

# What one launch of a multi-tensor operation takes, as in PyTorch's MultiTensorApply.cuh.
TENSORS = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}                          # by number of lists
CHUNK, BLOCKS = 65536, 320                                              # numbers, chunks


class Tally:
    "What the device was asked for so far: `Counter`s, most of them by place in our code."
    NAMES = 'launches', 'waits', 'copies', 'mixed', 'slow'

    def __init__(self):
        self.launches = Counter()   # kernels, by operation
        self.waits = Counter()      # times that Python waits until the device is done
        self.copies = Counter()     # between host and device; in no case does a step want one
        self.mixed = Counter()      # operations on tensors of two devices
        self.slow = Counter()       # multi-tensor operations that launch a kernel a tensor

    def copy(self):
        other = Tally()
        for name in self.NAMES: setattr(other, name, getattr(self, name).copy())
        return other

    def __sub__(self, before):
        other = Tally()
        for name in self.NAMES: setattr(other, name, getattr(self, name) - getattr(before, name))
        return other


def place():
    "File, line and text of the innermost call in our code, or else of the whole stack."
    frames = [f for f in traceback.extract_stack() if 'pretended' not in f.filename]
    ours = [f for f in frames if '/sgn_nb/' in f.filename] or frames
    return f"{ours[-1].filename.split('/sgn_nb/')[-1]}:{ours[-1].lineno} {ours[-1].line}"

def devices(tensors, at_least=0):
    "Kinds of device of tensors with so many dimensions."
    def kind(t): return (t.fake_device if isinstance(t, FakeTensor) else t.device).type
    return {kind(t) for t in tensors if t.dim() >= at_least}

def tensors_in(*trees): return [t for t in tree_leaves(trees) if isinstance(t, torch.Tensor)]


def true_value(x):
    "What the CPU computed, for a pretended tensor; all else as it is."
    return x.true if isinstance(x, FakeTensor) else x

def true_values(tree):
    "A tree of tensors, numbers and text with true tensors in it, copied."
    def copied(x): return true_value(x).clone() if isinstance(x, torch.Tensor) else x
    with unset_fake_temporarily(): return tree_map(copied, tree)

def compute(op, args, kwargs):
    "The operation with true tensors, on the CPU; cuDNN's by another one."
    def translate(x): return CPU if isinstance(x, torch.device) else true_value(x)
    args,kwargs = tree_map(translate, (args, kwargs))
    with unset_fake_temporarily():
        if str(op).startswith('aten.cudnn_batch_norm.'): return batch_norm(*args)
        if str(op).startswith('aten.cudnn_batch_norm_backward'): return batch_norm_grads(*args)
        return op(*args, **kwargs)

def batch_norm(x, weight, bias, mean, var, training, momentum, eps):
    out,*saved = torch.native_batch_norm(x, weight, bias, mean, var, training, momentum, eps)
    return out,*saved,torch.empty(0, dtype=torch.uint8)

def batch_norm_grads(x, g, weight, mean, var, saved_mean, saved_var, eps, reserve):
    return aten.native_batch_norm_backward(
        g, x, weight, mean, var, saved_mean, saved_var, True, eps, [True]*3)


class Audit(TorchDispatchMode):
    "Every operation is done twice, with true tensors and with pretended ones, and is counted."
    def __init__(self, fake):
        super().__init__()
        self.fake,self.tally = fake,Tally()

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs,name = kwargs or {},str(op)
        given = tensors_in(args, kwargs)
        on_gpu = 'cuda' in devices(given)
        true = compute(op, args, kwargs)
        if name.startswith(READS):
            if on_gpu: self.wait(name)
            return true
        out = true if true is None else self.pretend(op, args, kwargs, true, on_gpu)
        made = tensors_in(out)
        if on_gpu or 'cuda' in devices(made): self.count(op, args, kwargs, given, made)
        return out

    def pretend(self, op, args, kwargs, true, on_gpu):
        "Pretended results that know their true values."
        try:
            if on_gpu and str(op).startswith(CONVOLUTIONS):
                raise UnsupportedFakeTensorException('the layout is the true one')
            out = op(*args, **kwargs)
        except UnsupportedFakeTensorException: out = self.like(true, kwargs, on_gpu)
        except (DataDependentOutputException, DynamicOutputShapeException):
            if on_gpu: self.wait(str(op))                   # the size depends on numbers
            out = self.like(true, kwargs, on_gpu)
        for ours,theirs in zip(tree_leaves(out), tree_leaves(true)):
            if isinstance(ours, FakeTensor): ours.true,ours.constant = theirs,None
        return out

    def like(self, true, kwargs, on_gpu):
        "Pretended tensors of the size of true ones."
        device = kwargs.get('device') or (CUDA if on_gpu else CPU)
        def make(t):
            if not isinstance(t, torch.Tensor): return t
            with unset_fake_temporarily():
                meta = torch.empty_strided(t.size(), t.stride(), dtype=t.dtype, device='meta')
            return FakeTensor(self.fake, meta, device)
        return tree_map(make, true)

    def wait(self, what): self.tally.waits[f'{what}, {place()}'] += 1

    def count(self, op, args, kwargs, given, made):
        "Launches, waits and copies of an operation with a tensor on the device."
        name = str(op)
        if op.is_view or name.startswith(FREE): return
        if name.startswith(COPIES) and len(devices(given + made)) > 1:
            return self.count_copy(name, args, kwargs, made[0])
        kernels = 2 if 'batch_norm_backward' in name else 1     # a call of cuDNN counts as one
        if name.startswith(MULTI): kernels = self.multi_tensor(name, args)
        self.tally.launches[name] += kernels
        if len(devices(given, at_least=1)) > 1: self.tally.mixed[f'{name}, {place()}'] += 1

    def count_copy(self, name, args, kwargs, out):
        "From host to device or back: a wait, unless it is from pinned memory and told not to."
        positional = len(args) > 2 and name.startswith('aten.copy_') and args[2]
        is_async = kwargs.get('non_blocking') or positional
        way = 'to the device' if 'cuda' in devices([out]) else 'to the host'
        self.tally.copies[f'{way}, {place()}'] += 1
        if way == 'to the host' or not is_async: self.wait(f'copy {way}')

    def multi_tensor(self, name, args):
        "Launches of an operation on lists of tensors."
        lists = [a for a in args if isinstance(a, (list, tuple)) and tensors_in(a)]
        n = len(lists[0])
        if is_slow(name, lists):
            self.tally.slow[f'{name}, {place()}'] += 1
            return n
        chunks = sum(-(-t.numel()//CHUNK) for t in lists[0])
        return max(-(-n//TENSORS[min(len(lists), 5)]), -(-chunks//BLOCKS))


def is_slow(name, lists):
    """PyTorch goes tensor by tensor where the lists differ in size, order in memory or, but for
    copies, in type, or where one of them has other types within."""
    one_type = all(len({t.dtype for t in ts}) == 1 for ts in lists)
    same_type = len({ts[0].dtype for ts in lists}) == 1 or 'copy' in name
    is_fused = not name.startswith('aten._foreach')
    alike = all(len({(t.shape, t.stride()) for t in ts}) == 1 for ts in zip(*lists))
    return not (is_fused or one_type and same_type and alike)


def move(self, fn, recurse=True):
    "`nn.Module._apply`, which would give pretended data to a true parameter."
    if recurse:
        for child in self.children(): move(child, fn)
    for name,p in self._parameters.items():
        if p is None: continue
        with torch.no_grad(): q = fn(p)
        if q is not p: self._parameters[name] = torch.nn.Parameter(q, p.requires_grad)
    for name,b in self._buffers.items():
        if b is not None: self._buffers[name] = fn(b)
    return self

def patches():
    "Functions that would look for a real device, and what they say instead."
    def silent(*args, **kwargs): return None
    answers = {'is_available': True, 'device_count': 1, 'current_device': 0,
               'is_bf16_supported': True, 'get_device_name': 'pretended'}
    for name,v in answers.items():
        yield mock.patch.object(torch.cuda, name, lambda *args, v=v, **kwargs: v)
    for name in 'synchronize', '_lazy_init', 'manual_seed', 'manual_seed_all', 'set_rng_state':
        yield mock.patch.object(torch.cuda, name, silent)
    cpu_state = torch.get_rng_state                       # from which pretended numbers are drawn
    yield mock.patch.object(torch.cuda, 'get_rng_state', lambda *args: cpu_state())
    yield mock.patch.object(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
    yield mock.patch.object(torch.nn.Module, '_apply', move)
    yield mock.patch.object(FakeTensorMode, 'avoid_device_init', True)
    save,load = torch.save,torch.load
    def save_true(state, *args, **kwargs): save(true_values(state), *args, **kwargs)
    def load_true(*args, **kwargs):
        with unset_fake_temporarily(): return load(*args, **kwargs)
    yield mock.patch.object(torch, 'save', save_true)
    yield mock.patch.object(torch, 'load', load_true)

@contextmanager
def pretended():
    "Within it there is a CUDA device. Yields the `Audit`, whose `tally` it fills."
    torch._C._ensureCUDADeviceGuardSet()
    ctypes.CDLL(None).pretend_devices(100)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    audit = Audit(fake)
    with ExitStack() as stack:
        for patch in patches(): stack.enter_context(patch)
        stack.enter_context(fake)
        stack.enter_context(audit)
        yield audit
