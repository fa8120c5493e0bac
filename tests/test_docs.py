"""The site: its sidebar names every notebook, and the check in the browser fails for each thing
that can break."""
import json
import re
import shutil
import struct
import sys
import zlib
from base64 import b64encode
from contextlib import contextmanager
from importlib.util import find_spec
import pytest
from conftest import ROOT, files, run

sys.path.insert(0, str(ROOT/'tools'))

def png(shade, width=8):
    "A picture 8 pixels high, all of one shade."
    def number(n): return struct.pack('>I', n)
    def chunk(kind, data): return number(len(data)) + kind + data + number(zlib.crc32(kind + data))
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, 8, 8, 0, 0, 0, 0))
    row = b'\0' + bytes([shade])*width
    pixels = chunk(b'IDAT', zlib.compress(row*8))
    picture = b'\x89PNG\r\n\x1a\n' + header + pixels + chunk(b'IEND', b'')
    return b64encode(picture).decode()

# Something grows above the words once they have been painted.
JUMP = '''const grow = () => document.querySelector("main")
  .insertAdjacentHTML("afterbegin", "<div style=height:300px></div>");
addEventListener("load", () => requestAnimationFrame(() => requestAnimationFrame(grow)))'''
FORMULA = '<span class="math inline">\\(%s\\)</span>'
PICTURE = '<img alt="%s" src="%s">'
DATA = 'data:image/png;base64,'
LONG = 'display:block;white-space:pre;overflow:hidden'
URL = 'https://example.org/x.png'

# What is added at the end of a page that is fine -> what the check must say.
BROKEN = {
    'a dead link':            ('<a href="no_such.html">x</a>', 'no_such.html is not there'),
    'a dead anchor':          ('<a href="UP/index.html#none">x</a>', 'index.html has no #none'),
    'a link out of the site': ('<a href="UP/../../up.html">x</a>', 'is outside the site'),
    'an unrendered formula':  ('<p>$$x^2$$</p>', '$$x^2$$'),
    'a formula in error':     (FORMULA % r'\frac{x', 'formulas are rendered'),
    'an extra formula':       (FORMULA % 'x', 'formulas in the notebook'),
    'a leftover of Markdown': ('<p>::: {.note}</p>', ':::'),
    'a link that is a number': ('<a href="#">42</a>', 'is called by a number'),
    'a link in a link':       ('<p>[the <a href="#">ilr</a>](x.ipynb#y)</p>', '](x.ipynb#y)'),
    'a link in code':         ('<pre>d, # see [`ilr`](https://example.org)</pre>', '](https:'),
    'an empty figure':        (PICTURE % ('white', DATA + png(255)), 'more than one colour: white'),
    'a broken figure':        (PICTURE % ('torn', DATA + 'iVBORw0KGgo='), 'figures decode: torn'),
    'a figure too wide':      ('<style>img {max-width: 100%}</style>' + PICTURE % ('wide', DATA + png(9, 2000)),
                               'enough to be read: wide: 2000'),
    'a figure without text':  ('<img src="UP/images/colab.svg">', 'figures have a text'),
    'a missing file':         (PICTURE % ('x', 'images/no_such.png'), '404'),
    'an external request':    (PICTURE % ('x', URL), f'external request: {URL}'),
    'a console error':        ('<script>console.error("ouch")</script>', 'console: ouch'),
    'a script that throws':   ('<script>throw Error("ouch")</script>', 'error: ouch'),
    'a wide table':           ('<div style="width:900px">wide</div>', 'cut off: div'),
    'code cut off':           (f'<pre><code class="sourceCode" style="{LONG}">{"x"*400}</code></pre>',
                               'no code is cut off'),
    'a faint search result':  ('<style>.search-result-text {color: #444 !important}</style>',
                               'contrast of what the search finds'),
    'faint text':             ('<p style="color:#aaa;background:#fff">pale</p>', '"pale" has 2.3'),
    'a jump':                 (f'<script>{JUMP}</script>', 'layout shift'),
    'a heavy page':           (f'<!-- {"x"*1_600_000} -->', 'MB, more than'),
}
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
NEEDS = {'_docs/ (make docs)': (ROOT/'_docs/index.html').exists(),
         'playwright (pip install -e ".[docs]")': find_spec('playwright'),
         'chromium (apt-get install chromium)': BROWSER}
MISSING = [name for name, there in NEEDS.items() if not there]
needs_site = pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)}")


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "A copy of the site, free to be broken."
    return shutil.copytree(ROOT/'_docs', tmp_path_factory.mktemp('site')/'copy')

def page(site, name):
    "The one page of this name, in whatever folder."
    path, = site.rglob(name)
    return path

def check(site, name='ema.html'):
    path = page(site, name).relative_to(site).as_posix()
    p = run(sys.executable, 'tools/check_docs.py', site, '--pages', path, ok=False)
    return p.returncode, p.stdout

@contextmanager
def changed_page(site, change):
    "The page with another text, for a while."
    path = page(site, 'ema.html')
    whole = path.read_text(encoding='utf-8')
    path.write_text(change(whole), encoding='utf-8')
    try: yield
    finally: path.write_text(whole, encoding='utf-8')

@needs_site
def test_a_whole_page_passes(site):
    "Without this, the failures below would prove nothing."
    code, output = check(site)
    assert code == 0 and re.fullmatch(r'\d+ passed, 0 failed', output.splitlines()[-1]), output

@needs_site
@pytest.mark.parametrize('fault', BROKEN)
def test_a_broken_page_fails(site, fault):
    "Each way to break a page is noticed, and named."
    addition, expected = BROKEN[fault]
    up = '/'.join(['.'] + ['..']*len(page(site, 'ema.html').parent.relative_to(site).parts))
    def change(text): return text.replace('</main>', addition.replace('UP', up) + '</main>')
    with changed_page(site, change): code, output = check(site)
    assert code == 1 and expected in output, output

@needs_site
@pytest.mark.parametrize('old,new,expected', [
    ('window.smalldocsToggleScheme(); ', '', 'dark mode switches'),
    ('class="smalldocs-search"', 'class="gone"', 'search finds a word'),
    ('href="ema.ipynb"', 'href="#"', 'no link to lessons/ema.ipynb'),
], ids=['dark mode', 'search', 'download'])
def test_broken_switches_fail(site, old, new, expected):
    "A dead button is noticed although the page looks right."
    def change(text):
        assert old in text
        return text.replace(old, new)
    with changed_page(site, change): code, output = check(site)
    assert code == 1 and expected in output, output

def test_no_site_is_an_error(tmp_path):
    "A wrong folder is named, and is no success."
    p = run(sys.executable, 'tools/check_docs.py', tmp_path, ok=False)
    assert p.returncode == 1 and 'holds no site: make docs' in p.stderr

def test_a_colon_before_nothing_is_found(tmp_path):
    "Whoever promises code below a sentence shows it."
    import check_docs
    def cell(kind, source): return {'cell_type': kind, 'source': source, 'outputs': []}
    def found(*cells):
        path = tmp_path/'x.ipynb'
        path.write_text(json.dumps({'cells': [cell('markdown', 'It is this:'), *cells]}))
        return check_docs.dangling(path)
    assert found(cell('code', '#| exports\ndef f(): pass')) == found(cell('code', '1+1')) == []
    hidden = '#| export\nx = 1', '#| hide\nx = 1', '#| include: false\nx = 1'
    assert found(cell('code', hidden[1]), cell('code', '1+1')) == []
    assert all(found(cell('code', source)) == ['It is this:'] for source in hidden)
    assert found() == found(cell('markdown', 'Next.')) == ['It is this:']

def test_a_link_in_a_link_is_one_link():
    "nbdev links names, in the text of a link too; Markdown knows no such thing."
    pytest.importorskip('smalldocs')
    from make_docs import NESTED, unnest
    def mended(text): return NESTED.sub(unnest, text)
    assert mended('[[`f`](p.html#f)](x.ipynb)') == '[`f`](p.html#f)'
    assert mended('[old [`f`](p.html#f) net](x.ipynb#y)') == '[old `f` net](x.ipynb#y)'
    assert mended('see [`f`](p.html#f) [0]') == 'see [`f`](p.html#f) [0]'

def test_a_number_keeps_its_spread():
    "On one line where seven columns leave room for it; words in a table may break."
    pytest.importorskip('smalldocs')
    from make_docs import numbers
    def made(columns, content):
        head,row = '<th>x</th>'*columns, f'<td>{content}</td>'*columns
        html = (f'<table class="table"><thead><tr>{head}</tr></thead>'
                f'<tbody><tr>{row}</tr></tbody></table>')
        return re.sub(r'<table class=.*?</table>', numbers, html, flags=re.S)
    one = '<td><span class="spread">9.5 ±&nbsp;0.1&nbsp;(3)</span></td>'
    assert one in made(7, '9.5 ± 0.1 (3)')
    wide = made(8, '9.5 ± 0.1 (3)')
    assert 'class="numbers' in wide and 'spread' not in wide
    assert made(2, '−4.2 ± 1.4, behind').count('1.4</span>, behind') == 2
    assert 'class="table' in made(3, 'words')

def test_long_lines_of_words_wrap():
    "Rows of a table keep their columns; the sentence below them can be read without scrolling."
    pytest.importorskip('smalldocs')
    from make_docs import OUTPUT, printed
    def made(kind, text):
        html = f'<div class="cell-output cell-output-{kind}">\n<pre><code>{text}</code></pre></div>'
        return re.sub(OUTPUT, printed, html, flags=re.S)
    row, sentence = '| ce | ' + '9 | '*40, 'Words, of which there are many. '*5
    assert 'stdout words"' in made('stdout', sentence)
    table = made('stdout', f'{row}\n{sentence}')
    assert f'<code>{row}\n<span class="words">{sentence}</span>' in table
    assert 'words' not in made('stdout', row)
    for n, is_wrapped in (100, False), (120, True):
        assert ('class="words"' in made('stdout', 'name    ' + 'x'*(n-8))) == is_wrapped
    assert '<span class="words">Spec(' in made('display', 'Spec(' + 'lr=.1, '*20)
    assert 'words' not in made('display', '&lt;'*60)

def test_a_path_in_a_table_may_break():
    "On a phone a column of long names would push all others out of sight."
    pytest.importorskip('smalldocs')
    from make_docs import finish
    def made(cell): return finish(f'<td>{cell}</td>', 'index.html', 'https://example.org', {})
    assert made('ahead/digits/none') == '<td>ahead/<wbr>digits/<wbr>none</td>'
    assert made('and/or') == '<td>and/or</td>' and made('1/2/3 of it') == '<td>1/2/3 of it</td>'

def test_a_description_is_plain_text():
    "The page's tagline is Markdown; a search engine would show its asterisks."
    pytest.importorskip('smalldocs')
    from make_docs import finish
    description = '<meta %s="%sdescription" content="The *paper* and `ilr`."><p>*</p>'
    for kind in (('name', ''), ('property', 'og:'), ('name', 'twitter:')):
        finished = finish(description % kind, 'index.html', 'https://example.org', {})
        assert 'content="The paper and ilr."><p>*</p>' in finished

def test_source_is_called_by_its_names():
    "What is folded says what it is: one of five folded cells in a row would be found by opening all."
    pytest.importorskip('smalldocs')
    from make_docs import EXPORTED, is_private, unfold
    def summary(code):
        cell = {'cell_type': 'code', 'source': f'#| code-fold: show\n{EXPORTED}\n{code}'}
        unfold(cell)
        return cell['source'].splitlines()[:2]
    both = 'def _a(): pass\n\nclass B: pass'
    assert summary(both) == ['#| code-fold: true', '#| code-summary: "Source of _a, B"']
    assert summary('MAPS = {}')[1] == '#| code-summary: "Source of MAPS"'
    assert summary('def ilr(): pass')[0] == '#| code-fold: show'
    def signature(name): return {'cell_type': 'code', 'source': f'show_doc({name})'}
    assert is_private(signature('_Split.get')) and not is_private(signature('Record.row'))

def test_a_missing_source_is_found(tmp_path):
    "A page of references that loses a link is noticed."
    import check_docs
    check = check_docs.Check.__new__(check_docs.Check)
    check.site = tmp_path
    page = tmp_path/'references.html'
    page.write_text('')
    urls = check.unlinked_sources()
    assert 'https://openreview.net/forum?id=wfgZc3IMqo' in urls and len(urls) > 20
    page.write_text(''.join(f'<a href="{url}">x</a>' for url in urls[1:]))
    assert check.unlinked_sources() == urls[:1]

def test_index_of_names_is_current():
    "The page lists what the package has: it was run anew after the last change."
    nb = json.loads((ROOT/'nbs/about/06_names.ipynb').read_text(encoding='utf-8'))
    outputs = [o for c in nb['cells'] for o in c.get('outputs', [])]
    tables = [''.join(o['data']['text/markdown']) for o in outputs if 'text/markdown' in o['data']]
    listed = re.findall(r'^\| `(\w+)`', tables[0], re.M)
    scope = {}
    exec((ROOT/'sgn_nb/_modidx.py').read_text(encoding='utf-8'), scope)
    names = [qualified.removeprefix(f'{module}.') for module, qualifieds in scope['d']['syms'].items()
             for qualified in qualifieds]
    assert sorted(listed) == sorted(n for n in names if '.' not in n and not n.startswith('_'))

def test_sidebar_names_every_notebook_once():
    "Whoever adds a notebook says in which section of nbs/sidebar.yml it is read."
    entries = re.findall(r'- (\S+\.ipynb)', (ROOT/'nbs/sidebar.yml').read_text())
    notebooks = [p.relative_to(ROOT/'nbs').as_posix() for p in files(ROOT/'nbs', '*.ipynb')]
    pages = [name for name in notebooks if not re.search(r'(^|/)[_.]', name)]
    assert sorted(entries) == sorted(pages)

OUTPUTS = 'target', 'residual', 'nll', 'weight'
SLIDE = 'e => { e.value = VALUE; e.dispatchEvent(new Event("input", {bubbles: true})); }'

@needs_site
def test_the_playground_agrees_with_the_package():
    """The sliders' JavaScript and sgn_nb are two implementations: what one shows, the other
    computes."""
    import torch
    from playwright.sync_api import sync_playwright
    from sgn_nb.compositional import ilr, ilr_inv
    from sgn_nb.gaussian import loss_weight, rank_one_nll
    from sgn_nb.shifted_gaussian import effective_target
    from sgn_nb.targets import label_smoothing
    mu = ilr(torch.tensor([.12, .80, .08]).double())
    def compute(gamma, w, size):
        t = ilr(label_smoothing(torch.tensor(0), 3, 10**gamma).double())
        target = effective_target(t, mu, w)
        d = target - mu
        r = size*(t-mu)/(t-mu).norm()
        weight = loss_weight(d, r) if w < 1 else (1 + size**2)**-2
        size_and_loss = [d.norm().item(), rank_one_nll(d, r).item()]
        return [*ilr_inv(target).tolist(), *size_and_loss, float(weight)]
    with sync_playwright() as pw:
        options = ['--no-sandbox', '--disable-gpu']
        tab = pw.chromium.launch(executable_path=BROWSER, args=options).new_page()
        tab.goto(page(ROOT/'_docs', 'playground.html').as_uri())
        for gamma, w, size in (-3, 0, 1), (-4, .25, 3), (-1, .5, 0), (-.3, 1, 2):
            for name, value in dict(gamma=gamma, w=w, r=size).items():
                tab.locator(f'#play-{name}').evaluate(SLIDE.replace('VALUE', str(value)))
            texts = [tab.locator(f'#play-{name}').inner_text() for name in OUTPUTS]
            numbers = [float(number) for text in texts for number in text.split()]
            assert numbers == pytest.approx(compute(gamma, w, size), abs=1e-3)
            assert tab.locator('#play circle').count() == 6
            assert tab.locator('#play ellipse').count() == 2
