"""A stranger's folder of images and CSV: one command line trains every method on it, and says what
is wrong with it."""
import csv
import json
import numpy as np
import pytest
from PIL import Image
from conftest import BIN, ended
from sgn_nb.experiments import runner
from sgn_nb.methods.registry import METHODS
from sgn_nb.experiments.records import load_record, load_records

ARGS = '--label-column given --clean-column truth --net fast_cnn --batch 20 --epochs 2 --device cpu'.split()

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Sixty training and twenty test images in two classes, bright and dark; every third given
    label is wrong."""
    at, rng, rows = tmp_path_factory.mktemp('photos of mine')/'day and night', np.random.default_rng(0), []
    for n in range(80):
        truth = ('day', 'night')[n % 2]
        file = at/('test' if n >= 60 else 'train')/f'{n:02}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(*((120, 256) if truth == 'day' else (0, 120)), (32, 32, 3), dtype=np.uint8)).save(file)
        given = truth if n % 3 or n >= 60 else ('night', 'day')[n % 2]
        rows.append([file.relative_to(at).as_posix(), file.parent.name, truth, given])
    with open(at/'labels.csv', 'w', newline='') as f: csv.writer(f).writerows([['file', 'split', 'truth', 'given'], *rows])
    return at

@pytest.fixture
def sgn_train(start, folder, tmp_path):
    "The installed command, on the folder; later arguments win."
    return lambda *args: ended(start(BIN/'sgn_train', '--dataset', folder, *ARGS, '--out', tmp_path/'out', *args))

@pytest.mark.parametrize('method', METHODS)
def test_every_method(sgn_train, tmp_path, method):
    """A table, a record with the columns' names and the realised rate, a checkpoint; no path in any
    of them."""
    status, said = sgn_train('--method', method, *(['--settings', 'S=50'] if method == 'het' else []))
    assert status == 0, said
    assert f'| {method} ' in said and 'label column given' in said
    path, = (tmp_path/'out').glob('*.json')
    record = load_record(path)
    assert path.name.startswith(f'day-and-night_given_{method}_s0_') and list((tmp_path/'out').glob(f'{record.id}.*.ckpt'))
    assert .25 < record.realised_rate < .42 and len(record.curve) == 2
    assert str(tmp_path.parent) not in path.read_text()

WRONG = {'a folder that is not there': ('--dataset', 'fotos', "unknown data set 'fotos'", 'nor is there a folder of that name'),
         'a column that is not there': ('--label-column', 'label', 'label', 'given'),
         'a CSV that is not there':    ('--labels', 'label.csv', 'label.csv'),
         'noise on noisy labels':      ('--noise', 'sym-0.4', 'noise'),
         'too many examples':          ('--n-train', '100', 'n_train must be in 1..60'),
         'another network':            ('--net', 'fastcnn', "did you mean 'fast_cnn'"),
         'a batch too large':          ('--batch', '100', 'batch must be in 1..54')}

@pytest.mark.parametrize('name', WRONG)
def test_wrong(sgn_train, tmp_path, name):
    "One sentence that names what was asked for; nothing is written."
    option, value, *words = WRONG[name]
    status, said = sgn_train(option, value)
    assert status == 2 and 'Traceback' not in said, said
    for o in words: assert o in said, said
    assert not (tmp_path/'out').exists()

def test_a_folder_that_changed(sgn_train, folder, tmp_path):
    "Another image under the same name is not the recorded run's data: the sentence says so."
    assert sgn_train('--method', 'ce')[0] == 0
    one = folder/'train/00.jpg'
    before = one.read_bytes()
    try:
        Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(one)
        status, said = sgn_train('--method', 'ce')
    finally: one.write_bytes(before)
    assert status == 2 and 'was made with other pixels' in said, said

def test_image_size(sgn_train, folder, tmp_path, monkeypatch):
    """It changes the pixels, so it is in the record, which finds them again by the folder's name in
    SGN_DATA."""
    for size in [], ['--image-size', '16']: assert sgn_train('--method', 'ce', *size)[0] == 0
    records = {r.spec.image_size: r for r in load_records(tmp_path/'out')}
    assert set(records) == {None, 16}
    monkeypatch.setenv('SGN_DATA', str(folder.parent))
    for size, r in records.items(): assert runner.load_trained(r, tmp_path/'out')[1].train.x.shape[-1] == (size or 32)

@pytest.fixture
def other(folder, tmp_path):
    "`other(change)` is the folder's table, with its lines changed, in another place."
    def other(change):
        (tmp_path/'other.csv').write_text('\n'.join(change((folder/'labels.csv').read_text().splitlines())))
        return '--labels', tmp_path/'other.csv', '--method', 'ce'
    return other

def test_a_class_that_nothing_belongs_to(sgn_train, other):
    "A slip of the pen, unless the classes are named."
    slip = other(lambda lines: [lines[0], lines[1].rsplit(',', 1)[0] + ',dya', *lines[2:]])
    status, said = sgn_train(*slip)
    assert status == 2 and ': dya' in said and '--classes' in said, said
    assert sgn_train(*slip, '--classes', 'day,night,dya')[0] == 0
    assert "unknown class in other.csv 'night'" in sgn_train(*slip, '--classes', 'day,dya')[1]

def test_unlisted(sgn_train, other):
    "An image without a row is an error, unless the user says that it is none."
    short = other(lambda lines: lines[:1] + lines[2:])
    status, said = sgn_train(*short)
    assert status == 2 and 'does not list' in said and '--unlisted ignore' in said and '00.jpg' in said, said
    assert sgn_train(*short, '--unlisted', 'ignore')[0] == 0

def test_whole_paths(sgn_train, other, folder, tmp_path):
    "A table of whole paths below the folder is the same data set."
    assert sgn_train('--method', 'ce')[0] == 0
    status, said = sgn_train(*other(lambda lines: [lines[0], *(f'{folder}/{o}' for o in lines[1:])]))
    assert status == 0 and len(list((tmp_path/'out').glob('*.json'))) == 1, said

def test_sizes(sgn_train, folder, tmp_path):
    "Images of several sizes: the sentence names the option."
    one = folder/'train/00.jpg'
    before = one.read_bytes()
    try:
        Image.new('RGB', (40, 30)).save(one)
        status, said = sgn_train()
    finally: one.write_bytes(before)
    assert status == 2 and '--image-size 224' in said, said

def test_names_of_cifar(start, tmp_path):
    "Images in CIFAR-10's classes have CIFAR-10's confusions, in any order."
    names, rows = 'airplane automobile bird cat deer dog frog horse ship truck'.split(), ['file,label']
    (tmp_path/'ten').mkdir()
    for n in range(200):
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path/'ten'/f'{n}.png')
        rows.append(f'{n}.png,{names[n % 10]}')
    (tmp_path/'ten'/'labels.csv').write_text('\n'.join(rows))
    status, said = ended(start(BIN/'sgn_train', '--dataset', tmp_path/'ten', '--clean-column', 'label', '--classes', ','.join(names[::-1]), '--noise', 'asym-0.4',
                               '--method', 'ce', '--batch', '20', '--epochs', '1', '--device', 'cpu', '--out', tmp_path/'out'))
    assert status == 0, said
    path, = (tmp_path/'out').glob('ten_label_asym-0.4_ce_s0_*.json')
    assert .1 < json.loads(path.read_text())['realised_rate'] < .3  # two in five, of half of the classes
