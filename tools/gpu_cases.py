"""What the checks and the measurements of a GPU share: cases that are tried one by one within a
time, images of noise, and what the machine is called."""
import argparse
import faulthandler
import gc
import sys
import time
import traceback
from functools import lru_cache
import torch
from sgn_nb.data.batches import Augment, Batches, Mixup
from sgn_nb.data.examples import corrupt, from_arrays, split
from sgn_nb.experiments.records import driver_version, tf32_allowed
from sgn_nb.methods.registry import method_class
from sgn_nb.nets import net_maker

EXPECTED = {'compiled': 60}                    # seconds of a case, before one has been timed
MATRIX = (.6*torch.eye(10) + .04).tolist()     # of Forward, which spares it its first training


def add_options(parser, seconds, parts):
    "The options that both scripts have."
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda',
                        help='cpu: a rehearsal, with tiny sizes')
    parser.add_argument('--seconds', type=float, default=seconds,
                        help='what no longer fits is left out, and said so')
    parser.add_argument('--parts', type=some_of(parts), default=tuple(parts),
                        help=', '.join(parts))

def some_of(known):
    "Turns `a,b` into a tuple of known names."
    def parse(text):
        chosen = tuple(text.split(','))
        unknown = [name for name in chosen if name not in known]
        if not unknown: return chosen
        raise argparse.ArgumentTypeError(
            f"unknown {', '.join(unknown)}: choose from {', '.join(known)}")
    return parse

def check_device(device, done):
    "End here where there is no GPU: a sentence says that nothing was checked, or measured."
    if device == 'cpu' or torch.cuda.is_available(): return
    sys.exit(f'PyTorch sees no GPU here: nothing was {done} (--device cpu is a rehearsal)')


class Cases:
    "Cases are tried one by one, so that one that fails stops no other, until the time is up."
    def __init__(self, seconds):
        self.start, self.seconds = time.perf_counter(), seconds
        self.passed, self.failed, self.left_out = [], [], []        # titles
        if seconds < 3600:                                          # a case that hangs is ended
            faulthandler.dump_traceback_later(seconds + 45, exit=True)

    def spent(self): return time.perf_counter() - self.start

    def results(self, part, cases):
        "Name and result of each case of a part that passed; a case is a function."
        longest = EXPECTED.get(part, 0)
        for name, case in cases.items():
            start = self.spent()
            if start + longest > self.seconds: self.left_out.append(f'{part} {name}')
            else:
                ok, result = self.attempt(f'{part} {name}', case)
                if ok: yield name, result
                longest = max(longest, self.spent() - start)
        free_memory()

    def attempt(self, title, case):
        "Whether a case passed, and what it returned."
        try: result = case()
        except Exception:
            self.failed.append(title)
            print(f'FAILED {title}\n{traceback.format_exc(limit=-4)}', flush=True)
            return False, None
        self.passed.append(title)
        return True, result

    def finish(self):
        "Say what was left out, and as the last line how many passed; end with 1 if any failed."
        faulthandler.cancel_dump_traceback_later()
        for title in self.left_out: print(f'left out, there was no time: {title}')
        print(f'{len(self.passed)} passed, {len(self.failed)} failed', flush=True)
        sys.exit(bool(self.failed or not self.passed))

def free_memory():
    "Give back what earlier cases held."
    gc.collect()
    if torch.cuda.is_available(): torch.cuda.empty_cache()


@lru_cache(maxsize=2)
def noise_data(n=680, size=16, K=10):
    "Images of noise with a trace of their class; two fifths of the labels are wrong."
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(n) % K
    pixels = torch.randint(0, 256, (n, 3, size, size), generator=rng)
    x = (.5*pixels + 12*y[:, None, None, None]).byte()
    data = from_arrays(x, y, x[:100], y[:100], true=y, K=K, name='noise')
    return split(corrupt(data, 'sym-0.4', 0), 0, 40/n)

def make_method(name, data, net, epochs, steps, seed=0, **settings):
    "A method for a run of so many epochs and steps of an epoch; a seed's weights."
    Method = method_class(name)
    torch.manual_seed(seed)
    if name == 'forward': settings = {'T': MATRIX} | settings
    settings = Method.resolve(epochs, epochs*steps, **settings)
    return Method(net_maker(net, data.train.x.shape[1:]), data.K, data.train.y, **settings)

def training_batches(data, device, batch=32, seed=0, drop_last=True, mixup=False):
    "Shuffled, shifted, mirrored."
    augment = Augment(pad=2, flip=True)
    train = Batches(data, data.train, batch, seed, drop_last, augment, device)
    return Mixup(train, data.K) if mixup else train


def machine(device):
    "What a record says of the card and of what drives it."
    versions = {'torch': torch.__version__, 'cuda': torch.version.cuda,
                'cudnn': torch.backends.cudnn.version()}
    if device == 'cpu': return {'card': 'a rehearsal on a CPU', 'driver': None} | versions
    card = torch.cuda.get_device_properties(0)
    return {'card': card.name, 'driver': driver_version()} | versions | {
        'capability': f'{card.major}.{card.minor}',
        'multiprocessors': card.multi_processor_count,
        'memory_gb': round(card.total_memory/2**30, 1),
        'tf32': tf32_allowed()}
