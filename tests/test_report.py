"""From a folder of images to a reviewed CSV, as a user would go: one command, a page in a browser,
keys, a download."""
import csv
import os
import shutil
import sys
from importlib.util import find_spec
import numpy as np
import pytest
from PIL import Image
from conftest import run, slow

pytestmark = slow

COMMAND = 'import sys; from sgn_nb.apps.cli import main_report; main_report(sys.argv[1:])'
BROWSERS = filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')))
BROWSER = next(BROWSERS, None)
MISSING = [] if find_spec('playwright') else ['playwright (pip install -e ".[dev]")']
MISSING += [] if BROWSER else ['chromium (apt-get install chromium)']
needs_browser = pytest.mark.skipif(bool(MISSING) and not os.environ.get('CI'),
                                   reason=f"missing: {', '.join(MISSING)}")
FOLDER = 'fotos & <co>'
CLASSES = 'red', 'green "x", y', '<b>blue'

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A hundred and twenty images in three classes, one of them with a quote, a comma and a tag in
    its name; every sixth label is wrong."""
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
        rows.append([name, CLASSES[truth if n % 6 else (truth + 1) % 3]])
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

SWITCHES = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']

@pytest.fixture
def page(report):
    "The report in a browser that has no network, and what went wrong there."
    from playwright.sync_api import sync_playwright
    wrong = []
    def note_message(message):
        if message.type == 'error': wrong.append(message.text)
    def note_request(request):
        if not request.url.startswith(('file:', 'data:', 'blob:')): wrong.append(request.url)
    with sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        context = browser.new_context(accept_downloads=True, offline=True)
        page = context.new_page()
        page.on('console', note_message)
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.on('request', note_request)
        page.goto((report/'report.html').as_uri())
        yield page
        browser.close()
    assert wrong == []

def contradicted(report):
    "Rows of the labels that the network contradicts: those on the page."
    return [r for r in rows(report/'report.csv') if r['predicted_label'] != r['given_label']]

@needs_browser
def test_page_shows_the_report(page, report):
    """Summary, noise, calibration and images are there; names are shown as they are, and are not
    markup."""
    suspects = contradicted(report)
    assert 'About' in page.inner_text('#summary') and FOLDER in page.inner_text('h1')
    assert page.locator('#noise td').count() == 9
    assert page.locator('#calibration circle').count() >= 1
    cards = page.locator('#gallery li')
    assert cards.count() == len(suspects)
    assert '<b>blue' in page.inner_text('#noise') and page.locator('#gallery b').count() == 0
    assert page.evaluate('[...document.images].every((i) => i.src.startsWith("data:image/"))')
    page.locator('#gallery img').first.scroll_into_view_if_needed()
    page.wait_for_function('document.images[0].complete && document.images[0].naturalWidth === 16')
    first = suspects[0]
    title = f"{first['given_label']} → {first['predicted_label']}"
    assert cards.first.inner_text().startswith(title)

@needs_browser
def test_filters(page, report):
    "By given and suggested class, by quality, and by what is still open."
    suspects = contradicted(report)
    def visible(): return page.locator('#gallery li:visible').count()
    page.select_option('#given', label='<b>blue')
    assert visible() == sum(r['given_label'] == '<b>blue' for r in suspects) < len(suspects)
    page.select_option('#given', label='any')
    page.select_option('#suggested', label='red')
    assert visible() == sum(r['predicted_label'] == 'red' for r in suspects)
    page.select_option('#suggested', label='any')
    page.locator('#quality').fill('0.1')
    assert visible() == sum(float(r['label_quality']) <= .1 for r in suspects)

@needs_browser
def test_keys_and_download(page, report, folder, tmp_path):
    """a accepts, x keeps, u takes back, arrows walk; the CSV has every image, and decisions survive
    a reload."""
    # Accept 1, keep 2, accept 3, (4: nothing), back to 3: undone.
    for key in ('j', 'a', 'x', 'Enter', 'u', 'ArrowLeft', 'u'): page.keyboard.press(key)
    assert '1 accepted, 1 kept' in page.inner_text('#count')
    page.reload()
    assert '1 accepted, 1 kept' in page.inner_text('#count')
    with page.expect_download() as download: page.click('#download')
    assert download.value.suggested_filename == 'reviewed.csv'
    download.value.save_as(tmp_path/'reviewed.csv')
    reviewed = {r['file']: r for r in rows(tmp_path/'reviewed.csv')}
    given = {r['file']: r['label'] for r in rows(folder/'labels.csv')}
    first, second = contradicted(report)[:2]
    assert list(reviewed) == list(given)
    corrected = {f for f in given if reviewed[f]['label'] != given[f]}
    assert corrected == {first['id']}
    assert reviewed[first['id']]['label'] == first['predicted_label']
    assert [reviewed[r['id']]['decision'] for r in (first, second)] == ['accepted', 'kept']
    from sgn_nb.data.folder import image_folder
    assert len(image_folder(folder, tmp_path/'reviewed.csv').train) == 120

@needs_browser
def test_accept_all(page, report):
    "All that the filters show, and nothing that has been decided."
    page.keyboard.press('j')
    page.keyboard.press('x')
    page.click('#all')
    n = page.locator('#gallery li').count()
    assert f'{n - 1} accepted, 1 kept' in page.inner_text('#count')


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

def misspell(folder):
    table = folder/'labels.csv'
    slip = table.read_text().replace('000.png,"green ""x"", y"', '000.png,gren')
    table.write_text(slip)

def lose_table(folder): (folder/'labels.csv').unlink()

WRONG = {'many missing images': (lose_many, ('and 20 more', '\n'.join(MANY))),
         'missing images':      (lose, (', '.join(FEW),)),
         'unreadable images':   (spoil, ('3 of 120 images cannot be decoded', *FEW)),
         'a rare class':        (misspell, ('at least 5 images', 'gren (1)')),
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
