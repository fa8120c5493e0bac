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
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
HAVE = [] if find_spec('playwright') else ['playwright (pip install -e ".[dev]")']
HAVE += [] if BROWSER else ['chromium (apt-get install chromium)']
needs_browser = pytest.mark.skipif(bool(HAVE) and not os.environ.get('CI'), reason=f"missing: {', '.join(HAVE)}")
FOLDER = 'fotos & <co>'

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A hundred and twenty images in three classes, one of them with a quote, a comma and a tag in
    its name; every sixth label is wrong."""
    at, rng, rows = tmp_path_factory.mktemp('report')/FOLDER, np.random.default_rng(0), []
    at.mkdir()
    for n in range(120):
        truth = n % 3
        colour = np.zeros((16, 16, 3)) + 200*np.eye(3)[truth]
        name = f'{n:03}{", odd" if n == 7 else ""}.png'
        Image.fromarray((colour + rng.integers(0, 56, colour.shape)).astype(np.uint8)).save(at/name)
        rows.append([name, ('red', 'green "x", y', '<b>blue')[truth if n % 6 else (truth + 1) % 3]])
    with open(at/'labels.csv', 'w', newline='') as f: csv.writer(f).writerows([['file', 'label'], *rows])
    return at

def sgn_report(*args, ok=True, **kw): return run(sys.executable, '-c', COMMAND, *args, '--device', 'cpu', '--epochs', '12', ok=ok, **kw)

def rows(path):
    with open(path, newline='', encoding='utf-8') as f: return list(csv.DictReader(f))

@pytest.fixture(scope='module')
def report(folder, tmp_path_factory):
    "What the command makes of the folder."
    at = tmp_path_factory.mktemp('out')
    said = sgn_report(folder, '--out', at/'report', SGN_CACHE=str(at/'cache')).stdout
    assert '120 labels of 3 classes' in said and 'report.html' in said
    assert sorted(p.name for p in at.iterdir()) == ['cache', 'report']
    return at/'report'

def test_files(folder, report):
    """Every image once, in the table's order where it is to be trained on; no path of this machine;
    the model predicts."""
    from sgn_nb.apps.classifier import SGNClassifier
    from sgn_nb.data.folder import image_folder
    files, corrected, found = [r['file'] for r in rows(folder/'labels.csv')], rows(report/'corrected.csv'), rows(report/'report.csv')
    assert [r['file'] for r in corrected] == files and sorted(r['id'] for r in found) == sorted(files)
    assert {r['is_label_issue'] for r in found} == {'True', 'False'}
    assert all((r['corrected_label'] != r['given_label']) == (r['is_label_issue'] == 'True') for r in found)
    for p in report.iterdir(): assert str(folder.parent).encode() not in p.read_bytes()
    x = image_folder(folder).train.x
    assert SGNClassifier.load(report/'model.safetensors').score(x, [r['label'] for r in corrected]) > .9

def test_corrected_labels_can_be_trained_on(folder, report):
    "The CSV that comes out goes in again."
    from sgn_nb.data.folder import image_folder
    assert len(image_folder(folder, report/'corrected.csv').train) == 120

@pytest.fixture
def page(report):
    "The report in a browser that has no network, and what went wrong there."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=BROWSER, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        context = browser.new_context(accept_downloads=True, offline=True)
        page, wrong = context.new_page(), []
        page.on('console', lambda m: m.type == 'error' and wrong.append(m.text))
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.on('request', lambda r: r.url.startswith(('file:', 'data:', 'blob:')) or wrong.append(r.url))
        page.goto((report/'report.html').as_uri())
        yield page
        browser.close()
    assert wrong == []

@needs_browser
def test_page_shows_the_report(page, report):
    """Summary, noise, calibration and images are there; names are shown as they are, and are not
    markup."""
    found = rows(report/'report.csv')
    shown = [r for r in found if r['predicted_label'] != r['given_label']]
    assert 'About' in page.inner_text('#summary') and FOLDER in page.inner_text('h1')
    assert page.locator('#noise td').count() == 9 and page.locator('#calibration circle').count() >= 1
    cards = page.locator('#gallery li')
    assert cards.count() == len(shown) and '<b>blue' in page.inner_text('#noise') and page.locator('#gallery b').count() == 0
    assert page.evaluate('[...document.images].every((i) => i.src.startsWith("data:image/"))')
    page.locator('#gallery img').first.scroll_into_view_if_needed()
    page.wait_for_function('document.images[0].complete && document.images[0].naturalWidth === 16')
    assert cards.first.inner_text().startswith(f"{shown[0]['given_label']} → {shown[0]['predicted_label']}")

@needs_browser
def test_filters(page, report):
    "By given and suggested class, by quality, and by what is still open."
    shown = [r for r in rows(report/'report.csv') if r['predicted_label'] != r['given_label']]
    visible = lambda: page.locator('#gallery li:visible').count()
    page.select_option('#given', label='<b>blue')
    assert visible() == sum(r['given_label'] == '<b>blue' for r in shown) < len(shown)
    page.select_option('#given', label='any')
    page.select_option('#suggested', label='red')
    assert visible() == sum(r['predicted_label'] == 'red' for r in shown)
    page.select_option('#suggested', label='any')
    page.locator('#quality').fill('0.1')
    assert visible() == sum(float(r['label_quality']) <= .1 for r in shown)

@needs_browser
def test_keys_and_download(page, report, folder, tmp_path):
    """a accepts, x keeps, u takes back, arrows walk; the CSV has every image, and decisions survive
    a reload."""
    shown = [r for r in rows(report/'report.csv') if r['predicted_label'] != r['given_label']]
    for key in ('j', 'a', 'x', 'Enter', 'u', 'ArrowLeft', 'u'): page.keyboard.press(key)   # accept 1, keep 2, accept 3, (4: nothing), back to 3: undone
    assert '1 accepted, 1 kept' in page.inner_text('#count')
    page.reload()
    assert '1 accepted, 1 kept' in page.inner_text('#count')
    with page.expect_download() as got: page.click('#download')
    assert got.value.suggested_filename == 'reviewed.csv'
    got.value.save_as(tmp_path/'reviewed.csv')
    reviewed = {r['file']: r for r in rows(tmp_path/'reviewed.csv')}
    given = {r['file']: r['label'] for r in rows(folder/'labels.csv')}
    first, second = shown[:2]
    assert list(reviewed) == list(given)
    changed = {f for f in given if reviewed[f]['label'] != given[f]}
    assert changed == {first['id']} and reviewed[first['id']]['label'] == first['predicted_label']
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

BAD = [f'{n:03}.png' for n in range(8, 38)]
WRONG = {'many missing images': (lambda at: [(at/n).unlink() for n in BAD], ('and 20 more', '\n'.join(BAD))),
         'missing images':    (lambda at: [(at/f'{n:03}.png').unlink() for n in (3, 5, 8)], ('003.png, 005.png, 008.png',)),
         'unreadable images': (lambda at: [(at/f'{n:03}.png').write_bytes(b'no image') for n in (3, 5, 8)], ('3 of 120 images cannot be decoded', '003.png', '005.png', '008.png')),
         'a rare class':      (lambda at: (at/'labels.csv').write_text((at/'labels.csv').read_text().replace('000.png,"green ""x"", y"', '000.png,gren')), ('at least 5 images', 'gren (1)')),
         'no table':          (lambda at: (at/'labels.csv').unlink(), ('no table labels.csv',))}

@pytest.mark.parametrize('name', WRONG)
def test_wrong(folder, tmp_path, name):
    "All bad files at once, by name; neither report nor checkpoint is left."
    change, words = WRONG[name]
    p = sgn_report(broken(folder, tmp_path, change), '--out', tmp_path/'report', ok=False, SGN_CACHE=str(tmp_path/'cache'))
    assert p.returncode == 2 and 'Traceback' not in p.stderr and all(w in p.stderr for w in words), p.stderr
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith('report')]

def test_a_place_that_cannot_be_written_to(folder, tmp_path):
    "Said before the training, not after it."
    there = tmp_path/'there'
    there.mkdir()
    for out, word in ((there, 'out must not exist yet'), ('/proc/report', 'report')):
        p = sgn_report(folder, '--out', out, ok=False, SGN_CACHE=str(tmp_path/'cache'))
        assert p.returncode == 2 and word in p.stderr and 'step' not in p.stderr, p.stderr
    assert list(there.iterdir()) == []
