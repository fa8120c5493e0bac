"""The site: its sidebar names every notebook, and the check in the browser fails for each thing
that can break."""
import shutil
import struct
import sys
import zlib
from base64 import b64encode
from importlib.util import find_spec
import pytest
import re
from conftest import ROOT, files, run

def png(shade):
    "A picture of 8 by 8 pixels, all of one shade."
    def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 8, 8, 0, 0, 0, 0)) + chunk(b'IDAT', zlib.compress((b'\0' + bytes([shade])*8)*8)) + chunk(b'IEND', b'')
    return b64encode(data).decode()

# Something grows above the words once they have been painted.
JUMP = '''addEventListener("load", () => requestAnimationFrame(() => requestAnimationFrame(() =>
document.querySelector("main").insertAdjacentHTML("afterbegin", "<div style=height:300px></div>"))))'''

# What is added at the end of a page that is fine -> what the check must say.
BROKEN = {
    'a dead link':            ('<a href="no_such.html">x</a>', 'no_such.html is not there'),
    'a dead anchor':          ('<a href="UP/index.html#no-such">x</a>', 'index.html has no #no-such'),
    'a link out of the site': ('<a href="UP/../../up.html">x</a>', 'is outside the site'),
    'an unrendered formula':  ('<p>$$x^2$$</p>', '$$x^2$$'),
    'a formula in error':     (r'<span class="math inline">\(\frac{x\)</span>', 'formulas are rendered'),
    'an extra formula':       (r'<span class="math inline">\(x\)</span>', 'formulas in the notebook'),
    'a leftover of Markdown': ('<p>::: {.note}</p>', ':::'),
    'a link in code':         ('<pre>d, # see [`ilr`](https://example.org)</pre>', '](https:'),
    'an empty figure':        (f'<img alt="nothing" src="data:image/png;base64,{png(255)}">', 'more than one colour: nothing'),
    'a broken figure':        ('<img alt="torn" src="data:image/png;base64,iVBORw0KGgo=">', 'figures decode: torn'),
    'a figure without text':  ('<img src="UP/images/colab.svg">', 'figures have a text'),
    'a missing file':         ('<img alt="x" src="images/no_such.png">', '404'),
    'an external request':    ('<img alt="x" src="https://example.org/x.png">', 'external request: https://example.org/x.png'),
    'a console error':        ('<script>console.error("ouch")</script>', 'console: ouch'),
    'a script that throws':   ('<script>throw Error("ouch")</script>', 'error: ouch'),
    'a wide table':           ('<div style="width:900px">wide</div>', 'cut off: div'),
    'faint text':             ('<p style="color:#aaa;background:#fff">faint</p>', '"faint" has 2.3'),
    'a jump':                 (f'<script>{JUMP}</script>', 'layout shift'),
    'a heavy page':           (f'<!-- {"x"*1_600_000} -->', 'MB, more than'),
}
HAVE = [] if (ROOT/'_docs/index.html').exists() else ['_docs/ (make docs)']
HAVE += [] if find_spec('playwright') else ['playwright (pip install -e ".[docs]")']
HAVE += [] if any(map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))) else ['chromium (apt-get install chromium)']
needs_site = pytest.mark.skipif(bool(HAVE), reason=f"missing: {', '.join(HAVE)}")


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "A copy of the site, free to be broken."
    return shutil.copytree(ROOT/'_docs', tmp_path_factory.mktemp('site')/'copy')

def page(site, name):
    "The one page of this name, in whatever folder."
    found, = site.rglob(name)
    return found

def check(site, name='ema.html'):
    path = page(site, name).relative_to(site).as_posix()
    p = run(sys.executable, 'tools/check_docs.py', site, '--pages', path, ok=False)
    return p.returncode, p.stdout

@needs_site
def test_a_whole_page_passes(site):
    "Without this, the failures below would prove nothing."
    code, said = check(site)
    assert code == 0 and re.fullmatch(r'\d+ passed, 0 failed', said.splitlines()[-1]), said

@needs_site
@pytest.mark.parametrize('what', BROKEN)
def test_a_broken_page_fails(site, what):
    "Each way to break a page is noticed, and named."
    added, expected = BROKEN[what]
    ema = page(site, 'ema.html')
    whole = ema.read_text(encoding='utf-8')
    up = '/'.join(['.'] + ['..']*len(ema.parent.relative_to(site).parts))
    broken = whole.replace('</main>', added.replace('UP', up) + '</main>')
    ema.write_text(broken, encoding='utf-8')
    try: code, said = check(site)
    finally: ema.write_text(whole, encoding='utf-8')
    assert code == 1 and expected in said, said

@needs_site
@pytest.mark.parametrize('old,new,expected', [
    ('window.smalldocsToggleScheme(); ', '', 'dark mode switches'),
    ('class="smalldocs-search"', 'class="gone"', 'search finds a word'),
], ids=['dark mode', 'search'])
def test_broken_switches_fail(site, old, new, expected):
    "A dead button is noticed although the page looks right."
    ema = page(site, 'ema.html')
    whole = ema.read_text(encoding='utf-8')
    assert old in whole
    ema.write_text(whole.replace(old, new), encoding='utf-8')
    try: code, said = check(site)
    finally: ema.write_text(whole, encoding='utf-8')
    assert code == 1 and expected in said, said

def test_no_site_is_an_error(tmp_path):
    "A wrong folder is named, and is no success."
    p = run(sys.executable, 'tools/check_docs.py', tmp_path, ok=False)
    assert p.returncode == 1 and 'holds no site: make docs' in p.stderr

def test_sidebar_names_every_notebook_once():
    "Whoever adds a notebook says in which section of nbs/sidebar.yml it is read."
    listed = re.findall(r'- (\S+\.ipynb)', (ROOT/'nbs/sidebar.yml').read_text())
    notebooks = [p.relative_to(ROOT/'nbs').as_posix() for p in files(ROOT/'nbs', '*.ipynb')]
    read = [name for name in notebooks if not re.search(r'(^|/)[_.]', name)]
    assert sorted(listed) == sorted(read)

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
    program = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))))
    mu = ilr(torch.tensor([.12, .80, .08]).double())
    with sync_playwright() as pw:
        page = pw.chromium.launch(executable_path=program, args=['--no-sandbox', '--disable-gpu']).new_page()
        page.goto(next((ROOT/'_docs').rglob('playground.html')).as_uri())
        for gamma, w, size in (-3, 0, 1), (-4, .25, 3), (-1, .5, 0), (-.3, 1, 2):
            for name, value in dict(gamma=gamma, w=w, r=size).items():
                page.locator(f'#play-{name}').evaluate(f'e => {{ e.value = {value}; e.dispatchEvent(new Event("input", {{bubbles: true}})); }}')
            shown = [float(x) for o in ('target', 'residual', 'nll', 'weight') for x in page.locator(f'#play-{o}').inner_text().split()]
            t = ilr(label_smoothing(torch.tensor(0), 3, 10**gamma).double())
            target, u = effective_target(t, mu, w), (t-mu)/(t-mu).norm()
            d = target - mu
            weight = loss_weight(d, size*u) if w < 1 else (1 + size**2)**-2
            wanted = [*ilr_inv(target).tolist(), d.norm().item(), rank_one_nll(d, size*u).item(), float(weight)]
            assert shown == pytest.approx(wanted, abs=1e-3)
            assert page.locator('#play circle').count() == 6 and page.locator('#play ellipse').count() == 2
