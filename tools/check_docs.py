"""Checks of the site in a real browser: every page from a sub-path of a server, in the dark, on a
phone, and from the disk. The last line: `N passed, N failed`."""
import argparse, json, re, shutil, sys
from collections import defaultdict
from configparser import ConfigParser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
LOOK = (ROOT/'tools/check_docs.js').read_text(encoding='utf-8')
SHIFT = '''
window.layoutShift = 0;
const add = (list) => { for (const e of list.getEntries()) window.layoutShift += e.value; };
new PerformanceObserver(add).observe({type: "layout-shift", buffered: true});'''
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync',
         '--disable-component-update', '--no-first-run']
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'
HIDDEN = re.compile(r'^#\|\s*(hide\s*$|include:\s*false|output:\s*false|export)', re.M)
MB, JUMP, PHONE = 1.5, .1, 380  # the most that a page may weigh, and shift; a phone's width
WORD, SUB = 'simplex', '/some/where/'


def unless(good, problem): return [] if good else [problem]

def jumps(look):
    "The problem of a page whose text moves while it loads."
    return unless(look['shift'] <= JUMP, f"layout shift {look['shift']:.2f}, more than {JUMP}")

def text(x): return x if isinstance(x, str) else ''.join(x)

def page_name(nb): return re.sub(r'^\d+[a-zA-Z0-9]*_', '', nb.stem.lower()) + '.html'

def markdown_parts(nb):
    "The notebook's words, and what its cells show as Markdown."
    for cell in json.loads(nb.read_text(encoding='utf-8'))['cells']:
        src = text(cell['source'])
        if cell['cell_type'] == 'markdown': yield src
        elif not HIDDEN.search(src):
            for data in (o.get('data', {}) for o in cell['outputs']):
                if 'text/html' in data: continue
                if 'text/markdown' in data: yield text(data['text/markdown'])

def formulas(nb):
    "How many formulas the notebook has, in words and in Markdown outputs: counted without a renderer."
    n = 0
    for part in markdown_parts(nb):
        part = re.sub(r'^```.*?^```|(`+)[^`]+?\1', '', part, flags=re.M | re.S).replace(r'\$', '')
        part, shown = re.subn(r'\$\$.+?\$\$', '', part, flags=re.S)
        n += shown + len(re.findall(r'\$(?!\s)[^$]+?(?<!\s)\$(?!\d)', part))
    return n

def anchors(page):
    "All ids in the page."
    return set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding='utf-8')))

class Handler(SimpleHTTPRequestHandler):
    "The site below a sub-path; nothing anywhere else."
    def translate_path(self, path):
        inside = path[len(SUB)-1:] if path.startswith(SUB) else '/not there'
        return super().translate_path(inside)

    def log_message(self, *args): pass

class Server(ThreadingHTTPServer):
    # A page that is closed breaks off what it was loading; what matters, the browser reports.
    def handle_error(self, *args): pass

class Check:
    "A site, a browser, and what was found: `self.found[page]` is {check: problems}."
    def __init__(self, site, browser):
        self.site, self.browser, self.found = site, browser, defaultdict(dict)
        self.server = Server(('127.0.0.1', 0), partial(Handler, directory=str(site)))
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.http = f'http://127.0.0.1:{self.server.server_port}{SUB}'
        self.notebooks = {page_name(nb): nb for nb in (ROOT/'nbs').glob('[!_.]*.ipynb')}
        self.ids = {p.name: anchors(p) for p in site.glob('*.html')}
        config = ConfigParser(delimiters=['='])
        config.read(ROOT/'settings.ini', encoding='utf-8')
        self.published = config['DEFAULT']['doc_host'] + config['DEFAULT']['doc_baseurl']

    def visit(self, base, name, width=1280, act=lambda page: None):
        "Open a page; return its look, what `act(page)` returned, and what went wrong meanwhile."
        wrong = []
        context = self.browser.new_context(viewport=dict(width=width, height=800),
                                           reduced_motion='reduce', color_scheme='light')
        page = context.new_page()
        page.add_init_script(SHIFT)
        page.on('console', lambda m: m.type == 'error' and wrong.append(f'console: {m.text}'))
        page.on('pageerror', lambda e: wrong.append(f'error: {e}'))
        page.on('requestfailed', lambda r: wrong.append(f'failed request: {r.url[:80]}'))
        page.on('response', lambda r: r.status >= 400 and wrong.append(f'{r.status}: {r.url}'))
        def gate(route):
            if route.request.url.startswith((base, 'data:', 'blob:')): return route.continue_()
            wrong.append(f'external request: {route.request.url}')
            route.abort()
        context.route('**/*', gate)
        try:
            page.goto(base + name, wait_until='load', timeout=30000)
            page.wait_for_timeout(150)  # the theme settles, and shifts are reported
            return page.evaluate(LOOK), act(page), wrong
        except Exception as e: return None, None, [*wrong, f'cannot be opened: {e}']
        finally: context.close()

    def link(self, href):
        "What is wrong with a link, or None."
        if href.startswith(self.published): return f'{href} leaves this copy of the site'
        if not href.startswith(self.http):
            elsewhere = re.match(r'https?:|mailto:', href) and not href.startswith(self.http[:17])
            return None if elsewhere else f'{href} is outside the site'
        url = urlsplit(href[len(self.http):])
        target, anchor = unquote(url.path) or 'index.html', unquote(url.fragment)
        if not (self.site/target).is_file(): return f'{target} is not there'
        if anchor and anchor not in self.ids.get(target, ()): return f'{target} has no #{anchor}'

    @staticmethod
    def dark(page):
        page.locator('.quarto-color-scheme-toggle').first.dispatch_event('click')
        page.wait_for_timeout(250)
        return page.evaluate(LOOK)

    @staticmethod
    def search(page):
        type_word = f'e => {{ e.value = "{WORD}"; e.dispatchEvent(new Event("input")); }}'
        page.locator('#quarto-search input').first.evaluate(type_word)
        try: page.wait_for_selector('.search-result', state='attached', timeout=10000)
        except Exception: return 0
        return page.locator('.search-result').count()

    def check(self, name):
        "All checks of one page."
        seen = self.check_server(name)
        if not seen: return
        self.check_phone(name)
        self.check_disk(name, seen['formulas'])

    def check_server(self, name):
        "On a wide screen, by day and by night; what the page looks like."
        found = self.found[name]
        seen, dark, wrong = self.visit(self.http, name, act=self.dark)
        found['opens from a server, without errors or requests to others'] = wrong
        if not seen: return None
        rendered = seen['formulas']
        wanted = formulas(self.notebooks[name]) if name in self.notebooks else rendered
        counts = f'{wanted} formulas in the notebook, {rendered} on the page'
        found['formulas are rendered'] = seen['unrendered'] + unless(wanted == rendered, counts)
        found['figures decode'] = seen['undecoded']
        found['figures have more than one colour'] = seen['blank']
        found['figures have a text'] = seen['unnamed']
        found['links lead somewhere'] = sorted(filter(None, map(self.link, set(seen['links']))))
        found['contrast by day'] = seen['faint']
        found['contrast by night'] = dark['faint']
        day, night = seen['background'], dark['background']
        found['dark mode switches'] = unless(day != night, f'the background stays {day}')
        size = (self.site/name).stat().st_size/1e6
        found['size'] = unless(size <= MB, f'{size:.2f} MB, more than {MB}')
        found['does not jump'] = jumps(seen)
        return seen

    def check_phone(self, name):
        "On a narrow screen."
        found = self.found[name]
        small, _, wrong = self.visit(self.http, name, width=PHONE)
        found['opens on a phone'] = wrong
        if not small: return
        wide = unless(small['wide'] <= 0, f"{small['wide']} px wider than {PHONE}")
        found['fits a phone'] = wide + [f'cut off: {o}' for o in small['cut']]
        found['does not jump on a phone'] = jumps(small)

    def check_disk(self, name, wanted):
        "As a file, without a server; `wanted` formulas."
        found = self.found[name]
        disk, hits, wrong = self.visit(self.site.as_uri() + '/', name, act=self.search)
        found['opens from the disk'] = wrong
        if not disk: return
        rendered = disk['formulas']
        missing = unless(rendered == wanted, f'{rendered} of {wanted}')
        found['formulas are rendered from the disk'] = missing
        found['search finds a word'] = unless(hits, f'no result for {WORD!r}')

    def reference(self):
        "Every public name has a heading to link to, and a link to its source."
        scope = {}
        exec((ROOT/'sgn_nb/_modidx.py').read_text(encoding='utf-8'), scope)
        for module, names in scope['d']['syms'].items():
            for qualified, (address, py) in names.items():
                name = qualified.removeprefix(module + '.')
                if '.' in name or name.startswith('_'): continue
                page, anchor = address.split('#')
                problems = unless(anchor in self.ids.get(page, ()), f'{page} has no #{anchor}')
                if not self.has_source(page, py, name):
                    problems.append(f'{page} shows no signature with a source link')
                self.found['reference'][qualified] = problems

    def has_source(self, page, py, name):
        "Does a link to the source stand above the heading of `name`?"
        path = self.site/page
        html = path.read_text(encoding='utf-8') if path.exists() else ''
        heading = rf'/{re.escape(py)}#L\d+"[^>]*>source</a></p>\s*<h\d[^>]*>{name}\b'
        return bool(re.search(heading, html))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('site', nargs='?', type=Path, default=ROOT/'_docs')
    p.add_argument('--pages', nargs='+', metavar='PAGE', help='only these, such as index.html')
    a = p.parse_args()
    site = a.site.resolve()
    if not (site/'index.html').exists(): sys.exit(f'{a.site} holds no site: make docs')
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        sys.exit(f"none of {', '.join(BROWSERS)} found: "
                 'apt-get install --no-install-recommends chromium fonts-dejavu-core')
    from playwright.sync_api import sync_playwright
    with sync_playwright() as pw:
        check = Check(site, pw.chromium.launch(executable_path=program, args=FLAGS))
        for name in a.pages or sorted(check.ids): check.check(name)
    if not a.pages:
        check.reference()
        missing = sorted(check.notebooks.keys() - check.ids.keys())
        check.found['site']['has a page for each notebook'] = missing
    passed = failed = 0
    for name, found in check.found.items():
        bad = {what: problems for what, problems in found.items() if problems}
        passed += len(found) - len(bad)
        failed += len(bad)
        print(f"{'FAILED' if bad else 'ok    '} {name}")
        for what, problems in bad.items():
            more = f' and {len(problems)-8} more' if len(problems) > 8 else ''
            print(f"       {what}: {'; '.join(problems[:8])}{more}")
    print(f'{passed} passed, {failed} failed', flush=True)
    sys.exit(bool(failed or not passed))

if __name__ == '__main__': main()
