"""From a folder of images to a second round, as a user would go: one command, its files, what a
person decided, the command again. (The page in a browser: `test_page.py`.)"""
import csv
import re
import shutil
import sys
import numpy as np
import pytest
from PIL import Image
from conftest import run, slow

pytestmark = slow

COMMAND = 'import sys; from sgn_nb.apps.cli import main_report; main_report(sys.argv[1:])'
FOLDER = 'fotos & <co>'
CLASSES = 'red', 'green "x", y', '<b>blue'

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A hundred and twenty images in three classes, one of them with a quote, a comma and a tag in
    its name; every seventh label is wrong."""
    folder = tmp_path_factory.mktemp('report')/FOLDER
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [['file', 'label']]
    for n in range(120):
        truth = n % 3
        colour = np.zeros((16, 16, 3)) + 200*np.eye(3)[truth]
        pixels = colour + rng.integers(0, 56, colour.shape)
        name = f'{n:03}{", odd" if n == 7 else ""}.png'
        Image.fromarray(pixels.astype(np.uint8)).save(folder/name)
        rows.append([name, CLASSES[truth if n % 7 else (truth + 1) % 3]])
    with open(folder/'labels.csv', 'w', newline='') as f: csv.writer(f).writerows(rows)
    return folder

def sgn_report(*args, **options):
    "The command, for a few epochs."
    short = '--device', 'cpu', '--epochs', '12'
    return run(sys.executable, '-c', COMMAND, *args, *short, **options)

def rows(path):
    with open(path, newline='', encoding='utf-8') as f: return list(csv.DictReader(f))

@pytest.fixture(scope='module')
def report(folder, tmp_path_factory):
    "What the command makes of the folder."
    place = tmp_path_factory.mktemp('out')
    output = sgn_report(folder, '--out', place/'report', SGN_CACHE=str(place/'cache')).stdout
    assert '120 labels of 3 classes' in output and 'report.html' in output
    assert sorted(p.name for p in place.iterdir()) == ['cache', 'report']
    return place/'report'

def test_files(folder, report):
    """Every image once, in the table's order where it is to be trained on; no path of this machine;
    the model predicts."""
    from sgn_nb.apps.classifier import SGNClassifier
    from sgn_nb.data.folder import image_folder
    files = [r['file'] for r in rows(folder/'labels.csv')]
    corrected = rows(report/'corrected.csv')
    judged = rows(report/'report.csv')
    assert [r['file'] for r in corrected] == files
    assert sorted(r['id'] for r in judged) == sorted(files)
    assert {r['is_label_issue'] for r in judged} == {'True', 'False'}
    for r in judged:
        assert (r['corrected_label'] != r['given_label']) == (r['is_label_issue'] == 'True')
    for p in report.iterdir(): assert str(folder.parent).encode() not in p.read_bytes()
    clf = SGNClassifier.load(report/'model.safetensors')
    y = [r['label'] for r in corrected]
    assert clf.score(image_folder(folder).train.x, y) > .9

def test_corrected_labels_can_be_trained_on(folder, report):
    "The CSV that comes out goes in again."
    from sgn_nb.data.folder import image_folder
    assert len(image_folder(folder, report/'corrected.csv').train) == 120

def test_a_second_round(folder, report, tmp_path):
    """What a person has kept is no issue again, and all columns stay; the command says what the
    review has gained."""
    judged = rows(report/'report.csv')
    kept = [r['id'] for r in judged if r['predicted_label'] != r['given_label']][:5]
    reviewed = [r | {'decision': 'kept' if r['file'] in kept else '', 'patient': str(k)}
                for k, r in enumerate(rows(folder/'labels.csv'))]
    copy = shutil.copytree(folder, tmp_path/'copy')
    with open(copy/'reviewed.csv', 'w', newline='') as f:
        writer = csv.DictWriter(f, reviewed[0])
        writer.writeheader()
        writer.writerows(reviewed)
    output = sgn_report(copy, '--labels', 'reviewed.csv', '--out', tmp_path/'second',
                        SGN_CACHE=str(tmp_path/'cache')).stdout
    assert 'Read back from the review: 5 kept; 0 of 5' in output
    now = re.search(r'and ([0-9.]+%) are now', output)[1]
    assert f'About {now} are estimated to be wrong' in output
    second = {r['id']: r for r in rows(tmp_path/'second'/'report.csv')}
    assert {second[f]['is_label_issue'] for f in kept} == {'False'}
    corrected = rows(tmp_path/'second'/'corrected.csv')
    assert [r['patient'] for r in corrected] == [r['patient'] for r in reviewed]
    given = {r['file']: r['label'] for r in reviewed}
    assert all(r['label'] == given[r['file']] for r in corrected if r['file'] in kept)

def test_rows_that_are_not_judged(folder, tmp_path):
    "Test rows and classes of a few images stay in the table as they are, and are named."
    copy = shutil.copytree(folder, tmp_path/'copy')
    lines = rows(copy/'labels.csv')
    for k, r in enumerate(lines): r['split'] = 'test' if k % 10 == 0 else 'train'
    for k in (1, 2): lines[k]['label'] = 'gren'
    with open(copy/'labels.csv', 'w', newline='') as f:
        writer = csv.DictWriter(f, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    output = sgn_report(copy, '--out', tmp_path/'report', SGN_CACHE=str(tmp_path/'cache')).stdout
    assert '12 test rows are left out' in output and 'gren (2' in output
    corrected = rows(tmp_path/'report'/'corrected.csv')
    assert [r['split'] for r in corrected] == [r['split'] for r in lines]
    for before, after in zip(lines, corrected):
        if before['split'] == 'test' or before['label'] == 'gren': assert after == before

def test_votes(folder, tmp_path):
    "Of three people's votes, a corrected label is in all rows of its image: it is not outvoted."
    copy = shutil.copytree(folder, tmp_path/'copy')
    votes = [r | {'annotator': a} for r in rows(copy/'labels.csv') for a in 'abc']
    for k, r in enumerate(votes):
        if k % 30 == 0: r['label'] = CLASSES[k % 4 % 3]
    with open(copy/'labels.csv', 'w', newline='') as f:
        writer = csv.DictWriter(f, votes[0])
        writer.writeheader()
        writer.writerows(votes)
    output = sgn_report(copy, '--out', tmp_path/'report', SGN_CACHE=str(tmp_path/'cache')).stdout
    assert 'the network learns from the share of people who gave each label' in output
    judged = {r['id']: r for r in rows(tmp_path/'report'/'report.csv')}
    corrected = rows(tmp_path/'report'/'corrected.csv')
    assert len(judged) == 120 and len(corrected) == 360
    for before, after in zip(votes, corrected):
        r = judged[before['file']]
        is_issue = r['is_label_issue'] == 'True'
        assert after['label'] == (r['corrected_label'] if is_issue else before['label'])
    assert any(r['is_label_issue'] == 'True' for r in judged.values())

def test_two_at_once(folder, tmp_path):
    "The second is told at its start, and the first is not disturbed."
    from sgn_nb.apps.cli import _claim
    out = tmp_path/'report'
    with _claim(out):
        p = sgn_report(folder, '--out', out, ok=False, SGN_CACHE=str(tmp_path/'cache'))
    assert p.returncode == 2 and 'another sgn_report is writing' in p.stderr, p.stderr
    assert 'step' not in p.stderr and list(tmp_path.iterdir()) == []

# What is wrong is a sentence, and nothing is written

def broken(folder, tmp_path, change):
    "A copy of the folder, spoilt."
    copy = shutil.copytree(folder, tmp_path/'copy')
    change(copy)
    return copy

MANY = [f'{n:03}.png' for n in range(8, 38)]
FEW = '003.png', '005.png', '008.png'

def lose_many(folder):
    for name in MANY: (folder/name).unlink()

def lose(folder):
    for name in FEW: (folder/name).unlink()

def spoil(folder):
    for name in FEW: (folder/name).write_bytes(b'no image')

def lose_table(folder): (folder/'labels.csv').unlink()

WRONG = {'many missing images': (lose_many, ('and 20 more', '\n'.join(MANY))),
         'missing images':      (lose, (', '.join(FEW),)),
         'unreadable images':   (spoil, ('3 of 120 images cannot be decoded', *FEW)),
         'no table':            (lose_table, ('no table labels.csv',))}

@pytest.mark.parametrize('name', WRONG)
def test_wrong(folder, tmp_path, name):
    "All bad files at once, by name; neither report nor checkpoint is left."
    change, words = WRONG[name]
    cache = str(tmp_path/'cache')
    copy = broken(folder, tmp_path, change)
    p = sgn_report(copy, '--out', tmp_path/'report', ok=False, SGN_CACHE=cache)
    assert p.returncode == 2 and 'Traceback' not in p.stderr, p.stderr
    for o in words: assert o in p.stderr, p.stderr
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith('report')]

def test_a_place_that_cannot_be_written_to(folder, tmp_path):
    "Said before the training, not after it."
    occupied = tmp_path/'occupied'
    occupied.mkdir()
    for out, word in ((occupied, 'out must not exist yet'), ('/proc/report', 'report')):
        p = sgn_report(folder, '--out', out, ok=False, SGN_CACHE=str(tmp_path/'cache'))
        assert p.returncode == 2 and word in p.stderr and 'step' not in p.stderr, p.stderr
    assert list(occupied.iterdir()) == []
