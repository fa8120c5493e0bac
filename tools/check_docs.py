"Every page of the site, opened in a real browser: from a sub-path of a server, in the dark, on a phone, and from the disk. The last line: `N passed, N failed`."
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
SHIFT = '''window.layoutShift = 0; new PerformanceObserver((l) => { for (const e of l.getEntries()) window.layoutShift += e.value; }).observe({type: "layout-shift", buffered: true});'''
# A busy machine paints late, and a shift before the first frame is none.
FRAMES = 'new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))'
SETTLED = 'Promise.allSettled(document.getAnimations().map(a => a.finished)).then(() => null)'
FLAGS = '--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run'.split()
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'
MB, JUMP, PHONE, WORD, SUB = 1.5, .1, 380, 'simplex', '/some/where/'


def text(x): return x if isinstance(x, str) else ''.join(x)

def notebooks():
    "Page -> notebook, for all notebooks that become a page: `lessons/ema.html` -> nbs/lessons/04_ema.ipynb."
    nbs = {p.relative_to(ROOT/'nbs'): p for p in sorted((ROOT/'nbs').rglob('*.ipynb'))}
    def page(path): return path.with_name(re.sub(r'^\d+[a-zA-Z0-9]*_', '', path.stem.lower()) + '.html').as_posix()
    return {page(path): nb for path, nb in nbs.items() if not any(part[0] in '_.' for part in path.parts)}

def pages(site):
    "Page -> its HTML file, in all folders but that of the site's libraries."
    files = (p for p in sorted(site.rglob('*.html')) if site/'site_libs' not in p.parents)
    return {p.relative_to(site).as_posix(): p for p in files}

def formulas(nb):
    "How many formulas the notebook has, in its words and in what its cells show as Markdown: counted without any renderer."
    parts = []
    for cell in json.loads(nb.read_text(encoding='utf-8'))['cells']:
        src = text(cell['source'])
        if cell['cell_type'] == 'markdown': parts.append(src)
        elif not re.search(r'^#\|\s*(hide\s*$|include:\s*false|output:\s*false|export)', src, re.M):
            parts += [text(o['data']['text/markdown']) for o in cell['outputs'] if 'text/markdown' in o.get('data', {}) and 'text/html' not in o['data']]
    n = 0
    for part in parts:
        part = re.sub(r'^```.*?^```|(`+)[^`]+?\1', '', part, flags=re.M | re.S).replace(r'\$', '')
        part, shown = re.subn(r'\$\$.+?\$\$', '', part, flags=re.S)
        n += shown + len(re.findall(r'\$(?!\s)[^$]+?(?<!\s)\$(?!\d)', part))
    return n

class Handler(SimpleHTTPRequestHandler):
    "The site below a sub-path; nothing anywhere else."
    def translate_path(self, path): return super().translate_path(path[len(SUB)-1:] if path.startswith(SUB) else '/not there')
    def log_message(self, *args): pass

class Server(ThreadingHTTPServer):
    def handle_error(self, *args): pass  # a page that is closed breaks off what it was loading; what matters, the browser reports

class Check:
    "A site, a browser, and what was found: `self.found[page]` is {check: problems}."
    def __init__(self, site, browser):
        self.site, self.browser, self.found = site, browser, defaultdict(dict)
        self.server = Server(('127.0.0.1', 0), partial(Handler, directory=str(site)))
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.http = f'http://127.0.0.1:{self.server.server_port}{SUB}'
        self.notebooks = notebooks()
        self.ids = {name: set(re.findall(r'\bid="([^"]+)"', p.read_text(encoding='utf-8'))) for name, p in pages(site).items()}
        config = ConfigParser(delimiters=['='])
        config.read(ROOT/'settings.ini', encoding='utf-8')
        self.published = config['DEFAULT']['doc_host'] + config['DEFAULT']['doc_baseurl']

    def visit(self, base, name, width=1280, act=lambda page: None):
        "Open a page; return what it looks like, what `act(page)` returned, and what went wrong meanwhile."
        wrong = []
        context = self.browser.new_context(viewport=dict(width=width, height=800), reduced_motion='reduce', color_scheme='light')
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
            page.evaluate(FRAMES)
            page.wait_for_timeout(150)  # the theme settles, and shifts are reported
            return page.evaluate(LOOK), act(page), wrong
        except Exception as e: return None, None, [*wrong, f'cannot be opened: {e}']
        finally: context.close()

    def link(self, href):
        "What is wrong with a link, or None."
        if href.startswith(self.published): return f'{href} leaves this copy of the site'
        if not href.startswith(self.http): return None if re.match(r'https?:|mailto:', href) and not href.startswith(self.http[:17]) else f'{href} is outside the site'
        url = urlsplit(href[len(self.http):])
        target, anchor = unquote(url.path) or 'index.html', unquote(url.fragment)
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
        page.locator('#quarto-search input').first.evaluate(f'e => {{ e.value = "{WORD}"; e.dispatchEvent(new Event("input")); }}')
        try: page.wait_for_selector('.search-result', state='attached', timeout=10000)
        except Exception: return 0
        return page.locator('.search-result').count()

    def check(self, name):
        "All checks of one page."
        found = self.found[name]
        seen, dark, wrong = self.visit(self.http, name, act=self.dark)
        found['opens from a server, without errors or requests to others'] = wrong
        if not seen: return
        wanted = formulas(self.notebooks[name]) if name in self.notebooks else seen['formulas']
        found['formulas are rendered'] = seen['unrendered'] + [f"{wanted} formulas in the notebook, {seen['formulas']} on the page"]*(wanted != seen['formulas'])
        found['figures decode'] = seen['undecoded']
        found['figures have more than one colour'] = seen['blank']
        found['figures have a text'] = seen['unnamed']
        found['links lead somewhere'] = sorted({o for h in set(seen['links']) if (o := self.link(h))})
        found['contrast by day'] = seen['faint']
        found['contrast by night'] = dark['faint']
        found['dark mode switches'] = [f"the background stays {seen['background']}"]*(seen['background'] == dark['background'])
        size = (self.site/name).stat().st_size/1e6
        found['size'] = [f'{size:.2f} MB, more than {MB}']*(size > MB)
        found['does not jump'] = [f"layout shift {seen['shift']:.2f}, more than {JUMP}"]*(seen['shift'] > JUMP)

        small, _, wrong = self.visit(self.http, name, width=PHONE)
        found['opens on a phone'] = wrong
        if small:
            found['fits a phone'] = [f"{small['wide']} px wider than {PHONE}"]*(small['wide'] > 0) + [f'cut off: {o}' for o in small['cut']]
            found['does not jump on a phone'] = [f"layout shift {small['shift']:.2f}, more than {JUMP}"]*(small['shift'] > JUMP)

        disk, hits, wrong = self.visit(self.site.as_uri() + '/', name, act=self.search)
        found['opens from the disk'] = wrong
        if disk:
            found['formulas are rendered from the disk'] = [f"{disk['formulas']} of {seen['formulas']}"]*(disk['formulas'] != seen['formulas'])
            found['search finds a word'] = [f'no result for {WORD!r}']*(not hits)

    def reference(self):
        "Every public name has a heading to link to and a link to its source; where the text names it, it is a link."
        scope = {}
        exec((ROOT/'sgn_nb/_modidx.py').read_text(encoding='utf-8'), scope)
        for module, names in scope['d']['syms'].items():
            for qualified, (at, py) in names.items():
                name, (page, anchor) = qualified.removeprefix(module + '.'), at.split('#')
                if '.' in name or name.startswith('_'): continue
                html = (self.site/page).read_text(encoding='utf-8') if (self.site/page).exists() else ''
                problems = [f'{page} has no #{anchor}']*(anchor not in self.ids.get(page, ()))
                if not re.search(rf'/{re.escape(py)}#L\d+"[^>]*>source</a></p>\s*<h\d[^>]*>{name}\b', html): problems.append(f'{page} shows no signature with a source link')
                self.found['reference'][qualified] = problems


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('site', nargs='?', type=Path, default=ROOT/'_docs')
    p.add_argument('--pages', nargs='+', metavar='PAGE', help='only these, such as lessons/ema.html')
    a = p.parse_args()
    site = a.site.resolve()
    if not (site/'index.html').exists(): sys.exit(f'{a.site} holds no site: make docs')
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program: sys.exit(f"none of {', '.join(BROWSERS)} found: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as pw:
        check = Check(site, pw.chromium.launch(executable_path=program, args=FLAGS))
        for name in a.pages or sorted(check.ids): check.check(name)
    if not a.pages:
        check.reference()
        check.found['site']['has a page for each notebook'] = sorted(check.notebooks.keys() - check.ids.keys())
    passed = failed = 0
    for name, found in check.found.items():
        bad = {what: problems for what, problems in found.items() if problems}
        passed, failed = passed + len(found) - len(bad), failed + len(bad)
        print(f"{'FAILED' if bad else 'ok    '} {name}")
        for what, problems in bad.items():
            print(f"       {what}: {'; '.join(problems[:8])}{f' and {len(problems)-8} more' if len(problems) > 8 else ''}")
    print(f'{passed} passed, {failed} failed', flush=True)
    sys.exit(bool(failed or not passed))

if __name__ == '__main__': main()
