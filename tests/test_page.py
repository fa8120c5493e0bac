"""The label report's page in a browser without a network, with keys and with a finger: what is
decided there comes out as a CSV, and is still there after a reload."""
import csv
import os
import shutil
from importlib.util import find_spec
import numpy as np
import pandas as pd
import pytest
import torch

BROWSERS = filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')))
BROWSER = next(BROWSERS, None)
MISSING = [] if find_spec('playwright') else ['playwright (pip install -e ".[dev]")']
MISSING += [] if BROWSER else ['chromium (apt-get install chromium)']
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get('CI'),
                                reason=f"missing: {', '.join(MISSING)}")
CLASSES = 'red', 'green "x", y', '<b>blue', 'rare'
N, WRONG = 96, range(0, 96, 8)                       # twelve labels are wrong
COLUMNS = ['patient', 'file', 'finding', 'split']
SWITCHES = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']

def make_report(place, most=200, decisions=None, X=None):
    """A report on a hundred labels, made of probabilities: every eighth label is wrong, three of a
    rare class were never learned, every ninth row of the table is a test row."""
    from sgn_nb.apps.label_page import write_report
    from sgn_nb.apps.label_report import evidence_from_probs
    from sgn_nb.apps.label_tables import Listing
    rng = np.random.default_rng(0)
    truth = np.arange(N + 3) % 3
    given = truth.copy()
    given[list(WRONG)] = (truth[list(WRONG)] + 1) % 3
    given[N:] = 3
    probs = np.full((N + 3, 4), .02)
    probs[np.arange(N + 3), truth] = .94
    images = torch.from_numpy(rng.integers(0, 255, (N + 3, 3, 16, 16), dtype=np.uint8))
    rows, lines = [], []
    for n, label in enumerate(given):
        if n % 9 == 0: rows.append([str(n), f't{n}.png', 'NA', 'test'])
        lines.append(len(rows))
        rows.append([str(n), f'a/very/long/path/to/{n:03}, odd.png', CLASSES[label], 'train'])
    table = Listing(COLUMNS, rows, 'file', 'finding', lines)
    files = [rows[line][1] for line in lines]
    y = np.array(CLASSES)[given]
    e = evidence_from_probs(probs, y, CLASSES)
    return write_report(e, images if X is None else X, place, files, 'fotos & <co>', most,
                        decisions, table), table

def rows_of(path):
    with open(path, newline='', encoding='utf-8') as f: return list(csv.DictReader(f))

@pytest.fixture(scope='module')
def report(tmp_path_factory):
    "The folder, and the user's table."
    return make_report(tmp_path_factory.mktemp('page')/'report')

@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        yield browser
        browser.close()

@pytest.fixture
def visit(browser):
    "Open a report's page, on a phone or not; nothing may go wrong there, or ask a server."
    wrong, contexts = [], []
    def note_message(message):
        if message.type == 'error': wrong.append(message.text)
    def note_request(request):
        if not request.url.startswith(('file:', 'data:', 'blob:')): wrong.append(request.url)
    def visit(folder, **options):
        context = browser.new_context(accept_downloads=True, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on('console', note_message)
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.on('request', note_request)
        page.goto((folder/'report.html').as_uri())
        return page
    yield visit
    for context in contexts: context.close()
    assert wrong == []

PHONE = dict(viewport={'width': 360, 'height': 640}, has_touch=True, is_mobile=True)

def download(page, path):
    "The reviewed CSV, by file."
    with page.expect_download() as event: page.click('#download')
    assert event.value.suggested_filename == 'reviewed.csv'
    event.value.save_as(path)
    return {r['file']: r for r in rows_of(path)}

def count(page): return page.inner_text('#count')

def test_what_it_shows(visit, report):
    """Suspicions first, issues and rare classes are marked; names are shown as they are, and are
    not markup."""
    page = visit(report[0])
    cards = page.locator('#gallery li')
    assert cards.count() == len(WRONG) + 3
    assert page.locator('.mark', has_text='issue').count() == len(WRONG)
    assert page.locator('.mark', has_text='rare class').count() == 3
    assert 'fotos & <co>' in page.inner_text('h1') and 'Too rare' in page.inner_text('#caveats')
    assert page.locator('#gallery b').count() == 0
    assert cards.first.bounding_box()['y'] < 600                # the work is on the first screen
    page.click('text=Which labels become which')
    assert page.locator('#noise td').count() == 16 and '<b>blue' in page.inner_text('#noise')
    page.click('text=Is the network as sure')
    assert page.locator('#calibration circle').count() == 1

def test_finger(visit, report, tmp_path):
    "A phone: tap a card, tap an answer; everything is as large as a finger, nothing is cut off."
    folder, table = report
    page = visit(folder, **PHONE)
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    page.locator('#gallery li').first.tap()
    for button in page.locator('#buttons button, #other, #undo, #download').all():
        box = button.bounding_box()
        assert box['height'] >= 44 and box['width'] >= 44 and box['x'] + box['width'] <= 360, box
    assert page.locator('#typical img').count() == 4            # two of each of the two classes
    page.locator('#other').select_option('rare')
    for answer in ('Accept', 'Keep', 'Unsure', 'None fits'):
        page.locator('#buttons button', has_text=answer).tap()
    text = '1 accepted, 1 kept, 1 changed, 1 unsure, 1 none'
    assert text in count(page)
    page.reload()                                               # decisions stay in the browser
    assert text in count(page)
    reviewed = download(page, tmp_path/'reviewed.csv')
    words = [r['decision'] for r in reviewed.values() if r['decision']]
    assert sorted(words) == ['accepted', 'changed', 'kept', 'none', 'unsure']
    changed, = [r for r in reviewed.values() if r['decision'] == 'changed']
    assert changed['finding'] == 'rare' and changed['given_label'] in CLASSES

def test_larger(visit, report):
    "A tap on the picture of the selected card, or z, shows it in large; another one closes it."
    page = visit(report[0], **PHONE)
    page.locator('#gallery li').first.tap()
    page.locator('li.selected .picture').tap()
    assert page.locator('#large img').bounding_box()['width'] > 300
    page.locator('#large').tap()
    assert not page.locator('#large').is_visible()
    page.keyboard.press('z')
    assert page.locator('#large').is_visible()
    page.keyboard.press('z')
    assert not page.locator('#large').is_visible()

def test_keys(visit, report, tmp_path):
    "Every row and column of the table comes back, with what the keys have decided."
    folder, table = report
    page = visit(folder)
    for key in ('a', 'x', 's', 'n', '3', 'u', 'ArrowLeft', 'u'): page.keyboard.press(key)
    assert '1 accepted, 1 kept, 1 unsure' in count(page) and 'none' not in count(page)
    reviewed = download(page, tmp_path/'reviewed.csv')
    first = page.evaluate('D.items.slice(0, 3).map((o) => o.id)')
    assert [reviewed[f]['decision'] for f in first] == ['accepted', 'kept', 'unsure']
    assert list(rows_of(tmp_path/'reviewed.csv')[0]) == [
        *COLUMNS, 'given_label', 'suggested_label', 'decision']
    assert len(reviewed) == len(table.rows)
    judged = rows_of(folder/'report.csv')
    suggestion = {r['id']: r['predicted_label'] for r in judged}
    for row in table.rows:
        file, label = row[1], row[2]
        assert reviewed[file]['patient'] == row[0] and reviewed[file]['given_label'] == label
        expected = suggestion[file] if file == first[0] else label
        assert reviewed[file]['finding'] == expected

def test_keys_after_filtering(visit, report):
    "Keys act on the first card that is shown, wherever the last click was."
    page = visit(report[0])
    page.click('text=Filter, accept many')
    page.check('#open')
    page.keyboard.press('a')
    assert '1 accepted' in count(page)
    page.select_option('#given', label='<b>blue')
    shown = page.locator('#gallery li:visible')
    n = shown.count()
    assert 0 < n < len(WRONG)
    page.keyboard.press('x')
    assert '1 accepted, 1 kept' in count(page) and shown.count() == n - 1
    page.locator('#quality').fill('0')
    assert shown.count() == 0
    page.keyboard.press('a')                                    # nothing is shown: nothing happens
    assert '1 accepted, 1 kept' in count(page)

def test_many_at_once(visit, report):
    "All issues shown, and nothing that is decided or only shown; it can be undone, or all reset."
    page = visit(report[0])
    page.keyboard.press('x')
    page.click('text=Filter, accept many')
    page.click('#all')
    assert f'{len(WRONG) - 1} accepted, 1 kept' in count(page)
    page.keyboard.press('u')
    assert '0 accepted, 1 kept' in count(page)
    page.click('#all')
    page.once('dialog', lambda dialog: dialog.accept())
    page.click('#reset')
    assert '0 accepted, 0 kept' in count(page)
    page.click('#undo')
    assert f'{len(WRONG) - 1} accepted, 1 kept' in count(page)

def test_second_round(visit, report, tmp_path):
    "What was decided before is marked on the page, behind what is open, and stays as it was."
    decisions = np.full(N + 3, '', dtype=object)
    decisions[[0, 8]] = 'kept', 'unsure'
    folder, table = make_report(tmp_path/'second', decisions=decisions)
    page = visit(folder)
    assert '0 accepted, 1 kept, 1 unsure' in count(page)
    assert page.locator('#gallery li').last.get_attribute('data-decision') in ('kept', 'unsure')
    assert page.locator('.mark', has_text='issue').count() == len(WRONG) - 2
    reviewed = download(page, tmp_path/'reviewed.csv')
    assert reviewed[table.rows[table.lines[0]][1]]['decision'] == 'kept'
    page.locator('#gallery li[data-row="0"]').click()
    page.keyboard.press('a')                                    # a person may think again
    assert '1 accepted, 0 kept' in count(page)

def test_votes(visit, tmp_path):
    "What is decided stands in all rows of an image: it is not outvoted in the next round."
    from sgn_nb.apps.label_page import write_report
    from sgn_nb.apps.label_report import evidence_from_probs
    from sgn_nb.apps.label_tables import Listing
    given = [CLASSES[k % 3] for k in range(30)]
    truth = np.array([k % 3 for k in range(30)])
    truth[:2] = 2, 0
    e = evidence_from_probs(.01 + .96*np.eye(4)[truth], given, CLASSES)
    rows = [[f'{k}.png', y, a] for k, y in enumerate(given) for a in 'abc']
    for k in (2, 5, 8): rows[k][1] = CLASSES[2]               # one of three says otherwise
    table = Listing(['file', 'label', 'annotator'], rows, 'file', 'label', list(range(0, 90, 3)))
    files = [f'{k}.png' for k in range(30)]
    page = visit(write_report(e, None, tmp_path/'report', files, table=table))
    first, second = page.evaluate('D.items.slice(0, 2).map((o) => o.id)')
    for key in 'ax': page.keyboard.press(key)
    download(page, tmp_path/'reviewed.csv')
    reviewed = rows_of(tmp_path/'reviewed.csv')
    suggestion = {r['id']: r['predicted_label'] for r in rows_of(tmp_path/'report'/'report.csv')}
    for row, r in zip(rows, reviewed, strict=True):
        label, word = row[1], ''
        if row[0] == first: label, word = suggestion[first], 'accepted'
        if row[0] == second: label, word = given[int(second[0])], 'kept'
        assert (r['label'], r['decision'], r['given_label']) == (label, word, row[1])

def test_rows_of_a_table(visit, tmp_path):
    "Where there are no pictures, a card shows the row."
    frame = pd.DataFrame({'age': np.arange(N + 3), 'note': ['<i>x</i>']*(N + 3)})
    folder, _ = make_report(tmp_path/'rows', X=frame)
    page = visit(folder, **PHONE)
    first = page.locator('#gallery li').first
    first.tap()
    assert 'age' in first.inner_text() and '<i>x</i>' in first.inner_text()
    page.locator('#buttons button', has_text='Accept').tap()
    assert '1 accepted' in count(page)

def test_nothing_suspicious(visit, tmp_path):
    "It says so."
    from sgn_nb.apps.label_page import write_report
    from sgn_nb.apps.label_report import evidence_from_probs
    e = evidence_from_probs(np.eye(3)[np.arange(90) % 3], np.arange(90) % 3)
    page = visit(write_report(e, None, tmp_path/'clean'))
    assert page.locator('#nothing').is_visible()
    page.keyboard.press('a')
    assert '0 of 0 shown' in count(page)
