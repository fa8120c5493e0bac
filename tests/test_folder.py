"""A stranger's folder of images and CSV: one command line trains every method on it, and says what
is wrong with it."""
import csv
import json
import numpy as np
import pytest
from PIL import Image
from conftest import BIN, ended
from sgn_nb.experiments import runner
from sgn_nb.experiments.records import load_record, load_records
from sgn_nb.methods.registry import METHODS

ARGS = ['--label-column', 'given', '--clean-column', 'truth',
        *'--net fast_cnn --batch 20 --epochs 2 --device cpu'.split()]
CLASSES = 'day', 'night'

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Sixty training and twenty test images in two classes, bright and dark; every third given
    label is wrong."""
    folder = tmp_path_factory.mktemp('photos of mine')/'day and night'
    rng = np.random.default_rng(0)
    rows = [['file', 'split', 'truth', 'given']]
    for n in range(80):
        split = 'test' if n >= 60 else 'train'
        file = folder/split/f'{n:02}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        darkest, brightest = (0, 120) if n % 2 else (120, 256)
        pixels = rng.integers(darkest, brightest, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        is_wrong = split == 'train' and n % 3 == 0
        given = CLASSES[(n + is_wrong) % 2]
        rows.append([f'{split}/{file.name}', split, CLASSES[n % 2], given])
    with open(folder/'labels.csv', 'w', newline='') as f: csv.writer(f).writerows(rows)
    return folder

@pytest.fixture
def sgn_train(start, folder, tmp_path):
    "The installed command, on the folder; later arguments win."
    options = '--dataset', folder, *ARGS, '--out', tmp_path/'out'
    return lambda *args: ended(start(BIN/'sgn_train', *options, *args))

@pytest.mark.parametrize('method', METHODS)
def test_every_method(sgn_train, tmp_path, method):
    """A table, a record with the columns' names and the realised rate, a checkpoint; no path in any
    of them."""
    settings = ['--settings', 'S=50'] if method == 'het' else []
    status, output = sgn_train('--method', method, *settings)
    assert status == 0, output
    assert f'| {method} ' in output and 'label column given' in output
    path, = (tmp_path/'out').glob('*.json')
    record = load_record(path)
    assert path.name.startswith(f'day-and-night_given_{method}_s0_')
    assert list((tmp_path/'out').glob(f'{record.id}.*.ckpt'))
    assert .25 < record.realised_rate < .42 and len(record.curve) == 2
    assert str(tmp_path.parent) not in path.read_text()

NO_FOLDER = "unknown data set 'fotos'", 'nor is there a folder of that name'
WRONG = {'a folder that is not there': ('--dataset', 'fotos', *NO_FOLDER),
         'a column that is not there': ('--label-column', 'givn', "did you mean 'given'"),
         'a CSV that is not there':    ('--labels', 'label.csv', 'label.csv'),
         'noise on noisy labels':      ('--noise', 'sym-0.4', 'noise'),
         'too many examples':          ('--n-train', '100', 'n_train must be in 1..60'),
         'another network':            ('--net', 'fastcnn', "did you mean 'fast_cnn'"),
         'a batch too large':          ('--batch', '100', 'batch must be in 1..54')}

@pytest.mark.parametrize('name', WRONG)
def test_wrong(sgn_train, tmp_path, name):
    "One sentence that names what was asked for; nothing is written."
    option, value, *words = WRONG[name]
    status, output = sgn_train(option, value)
    assert status == 2 and 'Traceback' not in output, output
    for o in words: assert o in output, output
    assert not (tmp_path/'out').exists()

def test_a_folder_that_changed(sgn_train, folder, tmp_path):
    "Another image under the same name is not the recorded run's data: the sentence says so."
    assert sgn_train('--method', 'ce')[0] == 0
    image = folder/'train/00.jpg'
    content = image.read_bytes()
    try:
        Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(image)
        status, output = sgn_train('--method', 'ce')
    finally: image.write_bytes(content)
    assert status == 2 and 'was made with other pixels' in output, output

def test_image_size(sgn_train, folder, tmp_path, monkeypatch):
    """It changes the pixels, so it is in the record, which finds them again by the folder's name in
    SGN_DATA."""
    for size in [], ['--image-size', '16']: assert sgn_train('--method', 'ce', *size)[0] == 0
    records = {r.spec.image_size: r for r in load_records(tmp_path/'out')}
    assert set(records) == {None, 16}
    monkeypatch.setenv('SGN_DATA', str(folder.parent))
    for size, record in records.items():
        _, data = runner.load_trained(record, tmp_path/'out')
        assert data.train.x.shape[-1] == (size or 32)

@pytest.fixture
def edited(folder, tmp_path):
    "`edited(change)` is the folder's table, with its lines changed, in another place."
    def edited(change):
        lines = (folder/'labels.csv').read_text().splitlines()
        (tmp_path/'other.csv').write_text('\n'.join(change(lines)))
        return '--labels', tmp_path/'other.csv', '--method', 'ce'
    return edited

def test_a_class_that_nothing_belongs_to(sgn_train, edited):
    "A slip of the pen, unless the classes are named."
    def misspell(lines):
        head, first, *rest = lines
        return [head, first.rsplit(',', 1)[0] + ',dya', *rest]
    slip = edited(misspell)
    status, output = sgn_train(*slip)
    assert status == 2 and ': dya' in output and '--classes' in output, output
    assert sgn_train(*slip, '--classes', 'day,night,dya')[0] == 0
    assert "unknown class in other.csv 'night'" in sgn_train(*slip, '--classes', 'day,dya')[1]

def test_unlisted(sgn_train, edited):
    "An image without a row is an error, unless the user says that it is none."
    short = edited(lambda lines: lines[:1] + lines[2:])
    status, output = sgn_train(*short)
    assert status == 2, output
    for o in ('does not list', '--unlisted ignore', '00.jpg'): assert o in output, output
    assert sgn_train(*short, '--unlisted', 'ignore')[0] == 0

def test_whole_paths(sgn_train, edited, folder, tmp_path):
    "A table of whole paths below the folder is the same data set."
    assert sgn_train('--method', 'ce')[0] == 0
    def lengthen(lines): return [lines[0], *(f'{folder}/{line}' for line in lines[1:])]
    status, output = sgn_train(*edited(lengthen))
    assert status == 0 and len(list((tmp_path/'out').glob('*.json'))) == 1, output

def test_sizes(sgn_train, folder, tmp_path):
    "Images of several sizes: the sentence names the option."
    image = folder/'train/00.jpg'
    content = image.read_bytes()
    try:
        Image.new('RGB', (40, 30)).save(image)
        status, output = sgn_train()
    finally: image.write_bytes(content)
    assert status == 2 and '--image-size 224' in output, output

def test_names_of_cifar(start, tmp_path):
    "Images in CIFAR-10's classes have CIFAR-10's confusions, in any order."
    names = 'airplane automobile bird cat deer dog frog horse ship truck'.split()
    folder, rows = tmp_path/'ten', ['file,label']
    folder.mkdir()
    for n in range(200):
        pixels = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder/f'{n}.png')
        rows.append(f'{n}.png,{names[n % 10]}')
    (folder/'labels.csv').write_text('\n'.join(rows))
    columns = '--clean-column', 'label', '--classes', ','.join(names[::-1])
    short = '--noise asym-0.4 --method ce --batch 20 --epochs 1 --device cpu'.split()
    status, output = ended(start(BIN/'sgn_train', '--dataset', folder, *columns, *short,
                                 '--out', tmp_path/'out'))
    assert status == 0, output
    path, = (tmp_path/'out').glob('ten_label_asym-0.4_ce_s0_*.json')
    rate = json.loads(path.read_text())['realised_rate']
    assert .1 < rate < .3  # two in five, of half of the classes
