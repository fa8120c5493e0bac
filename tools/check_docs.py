"""Every page of the site, opened in a real browser: from a sub-path of a server, in the dark, on a
phone, and from the disk. The last line: `N passed, N failed`."""
import argparse
import json
import re
import shutil
import sys
from collections import defaultdict
from configparser import ConfigParser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
LOOK = (ROOT/'tools/check_docs.js').read_text(encoding='utf-8')
SHIFT = '''window.layoutShift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.layoutShift += entry.value;
}).observe({type: "layout-shift", buffered: true});'''
# A busy machine paints late, and a shift before the first frame is none.
FRAMES = '''new Promise((done) => requestAnimationFrame(
  () => requestAnimationFrame(() => requestAnimationFrame(done))))'''
SETTLED = '''Promise.allSettled(document.getAnimations().map((a) => a.finished)).then(() => null)'''
SEARCH = '''e => { e.value = "WORD"; e.dispatchEvent(new Event("input")); }'''
FLAGS = ('--no-sandbox --disable-gpu --disable-background-networking --disable-component-update '
         '--disable-sync --no-first-run').split()
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'
MB = 1.5               # a page may weigh so much
JUMP = .1              # and its layout shift so much
PHONE = 380            # pixels
WORD = 'simplex'       # is searched for
SUB = '/some/where/'   # where the server has the site
# Where data sets and the projects of the comparison are to be found; methods name theirs.
SOURCES = ['https://www.cs.toronto.edu/~kriz/cifar.html', 'https://arxiv.org/abs/1708.02862',
           *(f'https://github.com/{name}' for name in (
               'UCSC-REAL/cifar-10-100n', 'Cysu/noisy_label', 'KlemenVovk/noisy-labels',
               'cleanlab/cleanlab', 'scikit-bio/scikit-bio', 'ENSTA-U2IS-AI/torch-uncertainty'))]
UNSEEN = re.compile(r'^#\|\s*(hide\s*$|include:\s*false|output:\s*false|export)', re.M)

HIDDEN = re.compile(r'^#\|\s*(hide\s*$|include:\s*false|default_exp)', re.M)
UNSHOWN = re.compile(r'^#\|\s*export\s*$', re.M)


def text(x): return x if isinstance(x, str) else ''.join(x)

def page_name(path):
    "The page of a notebook: `lessons/ema.html` of `lessons/04_ema.ipynb`."
    return path.with_name(re.sub(r'^\d+[a-zA-Z0-9]*_', '', path.stem.lower()) + '.html').as_posix()

def find_notebooks():
    "Page -> notebook, for all notebooks that become a page."
    nbs = {p.relative_to(ROOT/'nbs'): p for p in sorted((ROOT/'nbs').rglob('*.ipynb'))}
    paths = [path for path in nbs if not any(part[0] in '_.' for part in path.parts)]
    return {page_name(path): nbs[path] for path in paths}

def find_pages(site):
    "Page -> its HTML file; libraries and what lies beside the pictures are no pages."
    files = {p.relative_to(site): p for p in sorted(site.rglob('*.html'))}
    others = 'site_libs', 'images'
    return {path.as_posix(): p for path, p in files.items() if path.parts[0] not in others}

def markdown(cell):
    "The Markdown of a cell: its words, or what it shows as Markdown and not as HTML."
    if cell['cell_type'] == 'markdown': return [text(cell['source'])]
    if UNSEEN.search(text(cell['source'])): return []
    data = [o.get('data', {}) for o in cell['outputs']]
    return [text(d['text/markdown']) for d in data if 'text/markdown' in d and 'text/html' not in d]

def count_formulas(part):
    "Those on lines of their own, and those in the text; code has none."
    part = re.sub(r'^```.*?^```|(`+)[^`]+?\1', '', part, flags=re.M | re.S).replace(r'\$', '')
    part, displayed = re.subn(r'\$\$.+?\$\$', '', part, flags=re.S)
    return displayed + len(re.findall(r'\$(?!\s)[^$]+?(?<!\s)\$(?!\d)', part))

def formulas(nb):
    "How many formulas the notebook has, counted without any renderer."
    cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
    return sum(count_formulas(part) for cell in cells for part in markdown(cell))

def dangling(nb):
    "The last words of each paragraph that ends in a colon and is followed by nothing on the page."
    cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
    cells = [cell for cell in cells if not HIDDEN.search(text(cell['source']))]
    ends = []
    for cell, following in zip(cells, cells[1:] + [None]):
        words = text(cell['source']).rstrip()
        if cell['cell_type'] != 'markdown' or not words.endswith(':'): continue
        is_code = following and following['cell_type'] == 'code'
        if not is_code or UNSHOWN.search(text(following['source'])): ends.append(words[-60:])
    return ends

def unless(holds, problem):
    "A list with the problem, or none."
    return [] if holds else [problem]

class Handler(SimpleHTTPRequestHandler):
    "The site below a sub-path; nothing anywhere else."
    def translate_path(self, path):
        inside = path[len(SUB)-1:] if path.startswith(SUB) else '/not there'
        return super().translate_path(inside)
    def log_message(self, *args): pass

class Server(ThreadingHTTPServer):
    "A page that is closed breaks off what it was loading; what matters, the browser reports."
    def handle_error(self, *args): pass

class Check:
    "A site, a browser, and the results: `self.results[page]` is {check: problems}."
    def __init__(self, site, browser):
        self.site = site
        self.browser = browser
        self.results = defaultdict(dict)
        self.server = Server(('127.0.0.1', 0), partial(Handler, directory=str(site)))
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.http = f'http://127.0.0.1:{self.server.server_port}{SUB}'
        self.notebooks = find_notebooks()
        pages = {name: p.read_text(encoding='utf-8') for name, p in find_pages(site).items()}
        self.ids = {name: set(re.findall(r'\bid="([^"]+)"', html)) for name, html in pages.items()}
        config = ConfigParser(delimiters=['='])
        config.read(ROOT/'settings.ini', encoding='utf-8')
        self.published = config['DEFAULT']['doc_host'] + config['DEFAULT']['doc_baseurl']

    def visit(self, base, name, width=1280, act=lambda page: None):
        """Open a page; return what it looks like, what `act(page)` returned, and what went wrong
        meanwhile."""
        wrong = []
        context = self.browser.new_context(viewport=dict(width=width, height=800),
                                           reduced_motion='reduce', color_scheme='light')
        def gate(route):
            if route.request.url.startswith((base, 'data:', 'blob:')): return route.continue_()
            wrong.append(f'external request: {route.request.url}')
            route.abort()
        context.route('**/*', gate)
        page = context.new_page()
        page.add_init_script(SHIFT)
        self.listen(page, wrong)
        try:
            page.goto(base + name, wait_until='load', timeout=30000)
            page.evaluate(FRAMES)
            page.wait_for_timeout(150)  # the theme settles, and shifts are reported
            return page.evaluate(LOOK), act(page), wrong
        except Exception as e: return None, None, [*wrong, f'cannot be opened: {e}']
        finally: context.close()

    @staticmethod
    def listen(page, wrong):
        "Whatever the browser complains about goes to the list `wrong`."
        page.on('console', lambda m: m.type == 'error' and wrong.append(f'console: {m.text}'))
        page.on('pageerror', lambda e: wrong.append(f'error: {e}'))
        page.on('requestfailed', lambda r: wrong.append(f'failed request: {r.url[:80]}'))
        page.on('response', lambda r: r.status >= 400 and wrong.append(f'{r.status}: {r.url}'))

    def is_elsewhere(self, href):
        "Whether a link leads to somebody else's site, or to a letter."
        is_local = href.startswith(self.http[:17])
        return bool(re.match(r'https?:|mailto:', href)) and not is_local

    def link(self, href):
        "What is wrong with a link, or None."
        if href.startswith(self.published): return f'{href} leaves this copy of the site'
        if self.is_elsewhere(href): return None
        if not href.startswith(self.http): return f'{href} is outside the site'
        url = urlsplit(href[len(self.http):])
        target = unquote(url.path) or 'index.html'
        anchor = unquote(url.fragment)
        if not (self.site/target).is_file(): return f'{target} is not there'
        if anchor and anchor not in self.ids.get(target, ()): return f'{target} has no #{anchor}'

    @staticmethod
    def dark(page):
        page.locator('.quarto-color-scheme-toggle').first.dispatch_event('click')
        page.evaluate(FRAMES)
        page.wait_for_timeout(250)
        page.evaluate(SETTLED)
        return page.evaluate(LOOK)

    @staticmethod
    def search(page):
        field = page.locator('#quarto-search input').first
        field.evaluate(SEARCH.replace('WORD', WORD))
        try: page.wait_for_selector('.search-result', state='attached', timeout=10000)
        except Exception: return 0, []
        return page.locator('.search-result').count(), page.evaluate(LOOK)['faint']

    def check(self, name):
        "All checks of one page: {check: problems}."
        page = self.check_server(name)
        if page:
            self.check_phone(name)
            self.check_disk(name, page)
        return self.results[name]

    def check_server(self, name):
        "By day and by night, from a server; returns what the page looks like."
        results = self.results[name]
        page, dark, wrong = self.visit(self.http, name, act=self.dark)
        results['opens from a server, without errors or requests to others'] = wrong
        if not page: return None
        n = page['formulas']
        source = formulas(self.notebooks[name]) if name in self.notebooks else n
        results['formulas are rendered'] = page['unrendered'] + unless(
            source == n, f'{source} formulas in the notebook, {n} on the page')
        results['figures decode'] = page['undecoded']
        results['figures have more than one colour'] = page['blank']
        results['figures have a text'] = page['unnamed']
        results['figures are shown large enough to be read'] = page['shrunk']
        problems = {self.link(href) for href in page['links']} - {None}
        results['links lead somewhere'] = sorted(problems)
        if name in self.notebooks:
            results['can be downloaded'] = self.downloads(name, page['links'])
        results['links have names'] = [f'{href} is called by a number' for href in page['numbered']]
        results['contrast by day'] = page['faint']
        results['contrast by night'] = dark['faint']
        results['no code is cut off'] = page['clipped']
        shade = page['background']
        results['dark mode switches'] = unless(shade != dark['background'],
                                             f'the background stays {shade}')
        size = (self.site/name).stat().st_size/1e6
        results['size'] = unless(size <= MB, f'{size:.2f} MB, more than {MB}')
        results['does not jump'] = self.jump(page)
        return page

    def downloads(self, name, links):
        "Copies of the page, as a notebook and as Markdown, that it has no link to."
        copies = [name.replace('.html', end) for end in ('.ipynb', '.llms.md')]
        return [f'no link to {copy}' for copy in copies if self.http + copy not in links]

    @staticmethod
    def jump(page):
        shift = page['shift']
        return unless(shift <= JUMP, f'layout shift {shift:.2f}, more than {JUMP}')

    def check_phone(self, name):
        results = self.results[name]
        page, _, wrong = self.visit(self.http, name, width=PHONE)
        results['opens on a phone'] = wrong
        if not page: return
        wide = page['wide']
        cut = [f'cut off: {start}' for start in page['cut']]
        results['fits a phone'] = unless(wide <= 0, f'{wide} px wider than {PHONE}') + cut
        results['does not jump on a phone'] = self.jump(page)

    def check_disk(self, name, online):
        results = self.results[name]
        page, found, wrong = self.visit(self.site.as_uri() + '/', name, act=self.search)
        results['opens from the disk'] = wrong
        if not page: return
        hits, faint = found
        results['contrast of what the search finds'] = faint
        n, total = page['formulas'], online['formulas']
        results['formulas are rendered from the disk'] = unless(n == total, f'{n} of {total}')
        results['search finds a word'] = unless(hits, f'no result for {WORD!r}')

    def reference(self):
        """Every public name has a heading to link to and a link to its source; where the text names
        it, it is a link."""
        scope = {}
        exec((ROOT/'sgn_nb/_modidx.py').read_text(encoding='utf-8'), scope)
        for module, names in scope['d']['syms'].items():
            for qualified, (target, py) in names.items():
                name = qualified.removeprefix(f'{module}.')
                if '.' in name or name.startswith('_'): continue
                self.results['reference'][qualified] = self.signature(name, target, py)
        return self.results['reference']

    def notebooks_have_pages(self):
        results = self.results['site']
        results['has a page for each notebook'] = sorted(self.notebooks.keys() - self.ids.keys())
        results['a colon is followed by something'] = [
            f'{name}: {words}' for name, nb in self.notebooks.items() for words in dangling(nb)]
        results['sources are linked'] = self.unlinked_sources()
        return results

    def unlinked_sources(self):
        "Papers and codes of methods, data sets and compared projects that no page leads to."
        text = ''.join(path.read_text(encoding='utf-8') for path in find_pages(self.site).values())
        modules = (ROOT/'sgn_nb/methods').glob('*.py')
        code = ''.join(path.read_text(encoding='utf-8') for path in modules)
        urls = re.findall(r"'(?:paper|code)': '([^']+)'", code)
        return sorted(url for url in {*urls, *SOURCES} if f'href="{url}"' not in text)

    def signature(self, name, target, py):
        "What is wrong with the place where a public name is explained."
        page, anchor = target.split('#')
        path = self.site/page
        html = path.read_text(encoding='utf-8') if path.exists() else ''
        source = rf'/{re.escape(py)}#L\d+"[^>]*>source</a></p>\s*<h\d[^>]*>{name}\b'
        return (unless(anchor in self.ids.get(page, ()), f'{page} has no #{anchor}')
                + unless(re.search(source, html), f'{page} shows no signature with a source link'))


def show(name, results):
    "A page, and the first eight problems of each check that failed; returns how many did."
    bad = {title: problems for title, problems in results.items() if problems}
    print(f"{'FAILED' if bad else 'ok    '} {name}", flush=True)
    for title, problems in bad.items():
        more = f' and {len(problems)-8} more' if len(problems) > 8 else ''
        print(f"       {title}: {'; '.join(problems[:8])}{more}", flush=True)
    return len(bad)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('site', nargs='?', type=Path, default=ROOT/'_docs')
    p.add_argument('--pages', nargs='+', metavar='PAGE',
                   help='only these, such as lessons/ema.html')
    a = p.parse_args()
    site = a.site.resolve()
    if not (site/'index.html').exists(): sys.exit(f'{a.site} holds no site: make docs')
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        sys.exit(f"none of {', '.join(BROWSERS)} found: "
                 'apt-get install --no-install-recommends chromium fonts-dejavu-core')
    from playwright.sync_api import sync_playwright
    failed = 0
    with sync_playwright() as pw:
        check = Check(site, pw.chromium.launch(executable_path=program, args=FLAGS))
        for name in a.pages or sorted(check.ids): failed += show(name, check.check(name))
    if not a.pages:
        failed += show('reference', check.reference())
        failed += show('site', check.notebooks_have_pages())
    passed = sum(map(len, check.results.values())) - failed
    print(f'{passed} passed, {failed} failed', flush=True)
    sys.exit(bool(failed or not passed))

if __name__ == '__main__': main()
