"""Downloads that break, caches that cannot be written, processes that are killed: what is there
afterwards is whole, and what was said was a sentence."""
import hashlib
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest
from conftest import ended, posix
from sgn_nb.experiments.records import load_record

# What every process begins with: a cache of its own, no data of the user's, no proxy before the
# local server.
BEGIN = '''
import os
import sys
os.environ.update(SGN_CACHE=sys.argv[1], no_proxy='*')
os.environ.pop('SGN_DATA', None)
'''
LABELS = BEGIN + '''
from sgn_nb.data import noise
noise.CIFARN_URL, noise.CIFARN[10] = sys.argv[2], ('CIFAR-10_human.pt', sys.argv[3])
try: clean, given = noise.human_labels('cifarn-worst')
except (OSError, ValueError) as e: sys.exit(f'{type(e).__name__}: {e}')
print('read', len(clean), f'{noise.realised_rate(clean, given):.2f}')
'''
SILENT = BEGIN + '''
import time
from sgn_nb.base.files import download
start = time.time()
try: download(sys.argv[2], f'{sys.argv[1]}/x', sys.argv[3], 'copy it from a friend', timeout=.3)
except OSError as e: print(f'{time.time() - start:.1f} {e}')
'''
CIFAR = BEGIN + '''
from torchvision.datasets import CIFAR10
from sgn_nb.data.sources import cifar10
CIFAR10.url = sys.argv[2] + 'cifar-10-python.tar.gz'
try: cifar10()
except (OSError, ValueError) as e: sys.exit(f'{type(e).__name__}: {e}')
'''
FOLDER = BEGIN + '''
import time
from sgn_nb.data import pixels
from sgn_nb.data.examples import pixel_hash
from sgn_nb.data.folder import image_folder
folder, slowly = sys.argv[2], float(sys.argv[3])
read, pixels.REST = pixels._read, 0      # the files are trusted at once, however new they are
opened = []
def waiting(*args):
    time.sleep(slowly)
    return read(*args)
def note(event, args):
    if event == 'open' and str(args[0]).endswith('.png'): opened.append(args[0])
pixels._read = waiting
sys.addaudithook(note)
data = image_folder(folder)
print(pixel_hash(data), len(opened))
'''
JPEGS = BEGIN + '''
import time
from PIL import Image
from sgn_nb.data.export import jpeg_folder
save = Image.Image.save
def waiting(*args, **kwargs):
    time.sleep(float(sys.argv[3]))
    save(*args, **kwargs)
Image.Image.save = waiting
jpeg_folder('digits', sys.argv[2])
'''
TRAIN = BEGIN + '''
import hashlib, pickle
import numpy as np
from pathlib import Path
from torchvision import datasets
from sgn_nb.apps.cli import main_train
name, root, out = sys.argv[2:]
if name == 'cifar10': source, labels, K = datasets.CIFAR10, 'labels', 10
else: source, labels, K = datasets.CIFAR100, 'fine_labels', 100
folder = Path(root)/source.base_folder
folder.mkdir(parents=True)
rng = np.random.default_rng(0)
def put(file, content):
    (folder/file).write_bytes(pickle.dumps(content))
    return [file, hashlib.md5((folder/file).read_bytes()).hexdigest()]
def images():
    pixels = rng.integers(0, 256, (200, 3072), np.uint8)
    return {'data': pixels, labels: (np.arange(200) % K).tolist()}
source.train_list = [put(file, images()) for file, _ in source.train_list]
source.test_list = [put(file, images()) for file, _ in source.test_list]
classes = {source.meta['key']: [f'class {k}' for k in range(K)]}
file, md5 = put(source.meta['filename'], classes)
source.meta = source.meta | {'md5': md5}
short = '--noise asym-0.4 --method ce --batch 50 --epochs 1 --device cpu'.split()
main_train(['--dataset', name, '--root', root, '--out', out, *short])
'''
PICKLES = '''
import os, sys, torch
from pathlib import Path
class Touch:
    def __reduce__(self): return os.system, (f'touch "{sys.argv[1]}/canary"',)
clean = torch.arange(50_000).numpy() % 10
for name, worse in ('good', (clean + (clean < 4)) % 10), ('evil', Touch()):
    torch.save({'clean_label': clean, 'worse_label': worse}, Path(sys.argv[1])/f'{name}.pt')
'''

@pytest.fixture
def process(start, tmp_path):
    """`process(SCRIPT, *args)` starts a script in a process of its own, with a cache folder of the
    test's."""
    def process(script, *args, cache=None):
        path = tmp_path/f'{hashlib.md5(script.encode()).hexdigest()}.py'
        path.write_text(script)
        return start(path, cache or tmp_path/'cache', *args)
    return process

@pytest.fixture
def pickles(start, tmp_path):
    "Two files of CIFAR-N's shape, as bytes: one that is what it says, one with a program inside."
    script = tmp_path/'pickles.py'
    script.write_text(PICKLES)
    status, output = ended(start(script, tmp_path))
    assert status == 0, output
    return {o: (tmp_path/f'{o}.pt').read_bytes() for o in ('good', 'evil')}

def sha(b): return f'sha256:{hashlib.sha256(b).hexdigest()}'

def contents(folder):
    "All files below a folder, which need not be there."
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())

def wait_for(true):
    "Wait for something that another process does."
    end = time.time() + 60
    while not true():
        assert time.time() < end
        time.sleep(.001)

@pytest.fixture
def serve():
    """`serve(body, stop=n)` is the address of a server that promises `body` and hangs up after `n`
    bytes, or with `stall` keeps silent from there on."""
    servers, silence = [], threading.Event()
    def serve(body, stop=None, stall=False, status=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body[:stop])
                self.wfile.flush()
                if stall: silence.wait(60)
            def log_message(self, *args): pass
        server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f'http://127.0.0.1:{server.server_port}/'
    yield serve
    silence.set()
    for o in servers: o.shutdown(), o.server_close()


# Human labels and CIFAR from the network

def test_labels_are_fetched_once(process, pickles, serve, tmp_path):
    "Afterwards the cache holds plain arrays and nothing else, and no server is needed."
    good = pickles['good']
    for url in serve(good), 'http://127.0.0.1:9/':
        assert ended(process(LABELS, url, sha(good))) == (0, 'read 50000 0.40\n')
        assert contents(tmp_path/'cache') == ['CIFAR-10_human.npz']

def test_a_program_in_the_pickle_does_not_run(process, pickles, serve, tmp_path):
    "Not even with the right checksum."
    status, output = ended(process(LABELS, serve(pickles['evil']), sha(pickles['evil'])))
    assert status == 1 and 'other than arrays, and was not run' in output, output
    assert not (tmp_path/'canary').exists() and not list(tmp_path.glob('cache/*.npz'))

NOT_IT = 'is not the file that was expected'
BROKEN = {'interrupted':    (dict(stop=100_000), 'ValueError', NOT_IT, '100,000 bytes came',
                            'in another way'),
          'nothing came':   (dict(stop=0), 'ValueError', NOT_IT, '(0 bytes came', 'in another way'),
          'not found':      (dict(status=404), 'OSError', '404', 'in another way'),
          'wrong checksum': (dict(), 'ValueError', NOT_IT, 'in another way')}

CASES = [*((LABELS, name) for name in BROKEN), (CIFAR, 'interrupted')]

@pytest.mark.parametrize('script, name', CASES, ids=[*BROKEN, 'cifar10 interrupted'])
def test_broken_download(process, serve, tmp_path, script, name):
    "One line that says what happened and what to do; nothing is left."
    options, *words = BROKEN[name]
    url = serve(os.urandom(300_000), **options)
    status, output = ended(process(script, url, sha(b'the file')))
    assert status == 1 and output.count('\n') == 1, output
    for o in (url, *words): assert o in output, output
    assert contents(tmp_path/'cache') == []

@pytest.mark.parametrize('script', [LABELS, CIFAR], ids=['labels', 'cifar10'])
def test_no_network(process, tmp_path, script):
    "Nobody answers: the same."
    status, output = ended(process(script, 'http://127.0.0.1:9/', sha(b'')))
    assert status == 1 and output.count('\n') == 1, output
    assert output.startswith('OSError: cannot download') and 'SGN_DATA' in output, output
    assert contents(tmp_path/'cache') == []

@pytest.mark.parametrize('stop', [0, 100_000], ids=['from the start', 'half-way'])
def test_silent_server(process, serve, tmp_path, stop):
    "A server that takes the call and then says nothing is given up, in a sentence."
    url = serve(os.urandom(300_000), stop=stop, stall=True)
    status, output = ended(process(SILENT, url, sha(b'')))
    seconds, sentence = output.split(maxsplit=1)
    assert status == 0 and .3 <= float(seconds) < 30, output
    assert sentence == f'cannot download {url} (timed out); copy it from a friend\n'
    assert contents(tmp_path/'cache') == []

@posix
def test_killed_while_downloading(process, pickles, serve, tmp_path):
    "Only a temporary file is left, which nobody takes for the real one."
    good, cache = pickles['good'], tmp_path/'cache'
    p = process(LABELS, serve(good, stop=100_000, stall=True), sha(good))
    def suffixes(): return {Path(o).suffix for o in contents(cache)}
    wait_for(lambda: suffixes()=={'.tmp', '.partial'})
    p.kill()
    p.join()
    assert p.exitcode == -signal.SIGKILL
    assert suffixes() == {'.tmp', '.partial'}
    assert ended(process(LABELS, serve(good), sha(good)))[0] == 0
    assert 'CIFAR-10_human.npz' in contents(cache)

@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_train_on_cifar(process, tmp_path, name):
    """The command reads torchvision's files from the folder it is given; neither cache nor network
    is needed, and the record knows no path."""
    status, output = ended(process(TRAIN, name, tmp_path/'root', tmp_path/'out'))
    assert status == 0, output
    path, = (tmp_path/'out').glob(f'{name}_asym-0.4_ce_s0_*.json')
    record = load_record(path)
    assert record.spec.dataset == name and .1 < record.realised_rate < .5
    assert 'test_acc/net' in record.curve[-1]
    assert str(tmp_path) not in path.read_text() and contents(tmp_path/'cache') == []


# Caches that cannot be written to

@pytest.fixture(params=['read-only', 'a file'])
def no_cache(request, tmp_path):
    "A cache folder that cannot be written to, or be at all."
    folder = tmp_path/'no'
    if request.param == 'a file': folder.write_text('mine')
    else:
        folder.mkdir(mode=0o555)
        if os.access(folder, os.W_OK): pytest.skip('root may write anywhere')
    return folder

def test_labels_without_a_cache(process, pickles, serve, no_cache):
    "Said before a byte is fetched."
    p = process(LABELS, 'http://127.0.0.1:9/', sha(pickles['good']), cache=no_cache)
    status, output = ended(p)
    assert status == 1 and output.count('\n') == 1, output
    assert str(no_cache) in output and 'download' not in output, output

def test_images_without_a_cache(process, photos, no_cache):
    "One warning, and the images all the same."
    status, output = ended(process(FOLDER, photos, 0, cache=no_cache))
    assert status == 0 and output.count('cannot be kept for next time') == 1, output
    assert 'SGN_CACHE' in output, output
    assert output.splitlines()[-1] == ended(process(FOLDER, photos, 0))[1].strip()


# A folder of images

@pytest.fixture
def photos(tmp_path):
    "Three hundred random images and their labels."
    from PIL import Image
    folder = tmp_path/'photos'
    folder.mkdir()
    rows = ['file,label']
    for k in range(300):
        pixels = hashlib.shake_256(bytes([k % 256, k // 256])).digest(192)
        Image.frombytes('RGB', (8, 8), pixels).save(folder/f'{k}.png')
        rows.append(f'{k}.png,{k % 3}')
    (folder/'labels.csv').write_text('\n'.join(rows))
    return folder

def load(process, photos, slowly=0):
    "Hash of the pixels, and how many times an image was opened."
    status, output = ended(process(FOLDER, photos, slowly))
    assert status == 0, output
    *_, digest, opened = output.split()  # behind a bar, if it took long
    return digest, int(opened)

def test_the_second_time_no_image_is_opened(process, photos):
    "Until one changes, even one of the same size with its old time."
    digest, opened = load(process, photos)
    assert opened >= 300
    assert load(process, photos) == (digest, 0)
    was = (photos/'7.png').stat()
    b = (photos/'8.png').read_bytes()
    assert len(b) == was.st_size
    (photos/'7.png').write_bytes(b)
    os.utime(photos/'7.png', ns=(was.st_atime_ns, was.st_mtime_ns))
    new_digest, opened = load(process, photos)
    assert new_digest != digest and opened >= 300
    table = photos/'labels.csv'
    table.write_text(table.read_text().replace('5.png,2', '5.png,1'))
    assert load(process, photos) == (new_digest, 0)  # another label, the same pixels

@posix
@pytest.mark.parametrize('seconds', [.05, .15, .35])
def test_killed_while_decoding(process, photos, tmp_path, seconds):
    "Nothing in the cache; the next process decodes as if nothing had been."
    p = process(FOLDER, photos, .003)
    time.sleep(seconds)
    p.kill()
    p.join()
    assert p.exitcode == -signal.SIGKILL and contents(tmp_path/'cache') == []
    digest, opened = load(process, photos)
    (tmp_path/'cache').rename(tmp_path/'aside')
    assert (digest, opened) == load(process, photos) and opened >= 300

def test_two_decode_at_once(process, photos, tmp_path):
    "Both get the images, the cache gets them once."
    pair = [process(FOLDER, photos, .002) for _ in range(2)]
    results = [ended(p) for p in pair]
    assert [status for status, _ in results] == [0, 0], results
    first, second = [output.split()[-2] for _, output in results]
    assert first == second
    assert sorted(o.split('.')[-1] for o in contents(tmp_path/'cache')) == ['json', 'npy', 'txt']
    assert load(process, photos) == (first, 0)

@posix
def test_killed_while_writing_a_folder(process, tmp_path):
    "No folder, rather than half of one; the next process writes it whole."
    p = process(JPEGS, tmp_path/'digits', .01)
    wait_for(lambda: list(tmp_path.glob('digits.*.tmp/train/*/*.jpg')))
    p.kill()
    p.join()
    assert p.exitcode == -signal.SIGKILL and not (tmp_path/'digits').exists()
    status, output = ended(process(JPEGS, tmp_path/'digits', 0))
    assert status == 0, output
    rows = (tmp_path/'digits'/'labels.csv').read_text().splitlines()
    assert rows[0] == 'file,split,index,clean' and len(rows) == 1 + 1437 + 360
    assert all((tmp_path/'digits'/row.split(',')[0]).stat().st_size for row in rows[1:])
