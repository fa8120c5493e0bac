"""The site in _docs/, without Quarto: nbdev processes the notebooks, smalldocs lays them out, KaTeX
comes from this machine."""
import base64, json, os, re, shutil, struct, sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
KATEX = [Path('/usr/share/javascript/katex'), Path('/usr/share/nodejs/katex/dist')]  # Debian's, Ubuntu's
FETCH = 'const r = await fetch(offset + "search.json");\n      index = await r.json();'
STDOUT = r'<div class="cell-output cell-output-stdout">\s*<pre[^>]*><code[^>]*>(.*?)</code></pre>'
# A page opened from the disk may load a script, but not fetch a file.
LOAD = '''index = await new Promise((done, fail) => {
        const s = document.createElement("script");
        s.src = offset + "search.js"; s.onload = () => done(window.searchIndex); s.onerror = fail;
        document.head.append(s);
      });'''

try: from smalldocs import config, layout, site
except ImportError:
    sys.exit(f'smalldocs is missing from {sys.executable}: '
             '`make docs` installs it, or pip install -e ".[dev,docs]"')


def katex():
    "The folder of this machine's KaTeX."
    for folder in KATEX:
        if (folder/'contrib/auto-render.js').exists(): return folder
    sys.exit(f"KaTeX is in none of {', '.join(map(str, KATEX))}: apt-get install libjs-katex")

def mend(path):
    "nbdev links names in a signature's comments as in words; between code fences that is noise."
    def plain(fence): return re.sub(r'\[(`[^`\n]+`)\]\(http[^)\s]*\)', r'\1', fence[0])
    nb = json.loads(path.read_text(encoding='utf-8'))
    outputs = [o for c in nb['cells'] for o in c.get('outputs', [])]
    for data in (o.get('data', {}) for o in outputs):
        if 'text/markdown' not in data: continue
        words = ''.join(data['text/markdown'])
        data['text/markdown'] = re.sub(r'^```.*?^```', plain, words, flags=re.M | re.S)
    path.write_text(json.dumps(nb), encoding='utf-8')

class Site(site.Site):
    "A smalldocs site with nbdev's page names, and links into the repository that lead there."
    def read(self, src):
        page = super().read(src)
        page.out = PurePosixPath(page.front.get('output-file', page.out))
        return page

    def resolve(self, href, page, record=True):
        web = self.project.website
        if href.startswith('../'): return f"{web['repo-url']}/blob/{web['repo-branch']}/{href[3:]}"
        return super().resolve(href, page, record)

def sized(img):
    "An inline picture with its width and height, so that the text does not jump when it appears."
    w, h = struct.unpack('>II', base64.b64decode(img[1][:32])[16:24])
    return img[0].replace('<img ', f'<img width="{w}" height="{h}" ')

def numbers(table):
    "A table of numbers says so to styles.css, and ± and the number of runs stay with their number."
    html = table[0]
    second = re.findall(r'<tr[^>]*>\s*<td.*?</td>\s*<td[^>]*>(.*?)</td>', html, flags=re.S)
    if '± ' not in html and not all(re.match(r'[+−]?[\d.–]', c) for c in second): return html
    tied = re.sub(r'(?<=±) | (?=\(\d+\))', '&nbsp;', html)
    return tied.replace('class="', 'class="numbers ', 1)

def printed(out):
    "What a cell printed: words may wrap, columns may not."
    html, words = out[0], out[1]
    has_columns = re.search(r'^\||\S {3,}\S', words, re.M)
    return html if has_columns else html.replace('cell-output-stdout', 'cell-output-stdout words')

def finish(text, base, ids):
    "A page's HTML: own links relative, and to the class where a method has no heading of its own."
    def link(m):
        name, _, anchor = m[1].partition('#')
        if anchor and anchor not in ids.get(name, ()): anchor = anchor.split('.')[0]
        return f'href="{name or "index.html"}{"#"*bool(anchor)}{anchor}"'
    text = re.sub(rf'href="{re.escape(base)}/?([^"]*)"', link, text)
    # The formulas stand before the first view.
    text = text.replace('smalldocs.js" defer', 'smalldocs.js" defer blocking="render"')
    text = re.sub(r'<table class=.*?</table>', numbers, text, flags=re.S)
    text = re.sub(STDOUT, printed, text, flags=re.S)
    return re.sub(r'<img [^>]*src="data:image/png;base64,([^"]+)"[^>]*>', sized, text)

def replace(path, old, new):
    "Change a file of smalldocs; one that has changed since is an error, not silence."
    text = path.read_text(encoding='utf-8')
    if old not in text: sys.exit(f'{path.name} no longer holds {old!r}: is it smalldocs 0.5.4?')
    path.write_text(text.replace(old, new), encoding='utf-8')

def main():
    os.chdir(ROOT)
    from nbdev.serve import proc_nbs
    maths = katex()
    proc = proc_nbs(n_workers=2, force=True)
    for nb in proc.glob('*.ipynb'): mend(nb)
    layout.KATEX = 'site_libs/katex'  # instead of a server's: right for each page, all are in one folder
    made = Site(config.load(proc), quiet=True)
    made.build()
    if made.broken:
        broken = '\n'.join(f'{src}: {href}' for src, href in made.broken)
        sys.exit(f'broken links:\n{broken}')
    use_local_files(made.out, maths)
    pages = sorted(made.out.glob('*.html'))
    texts = {p: p.read_text(encoding='utf-8') for p in pages}
    ids = {p.name: set(re.findall(r'\bid="([^"]+)"', t)) for p, t in texts.items()}
    base = made.project.website['site-url']
    for p, t in texts.items(): p.write_text(finish(t, base, ids), encoding='utf-8')
    (made.out/'.nojekyll').touch()  # GitHub Pages: serve the files as they are
    shutil.rmtree(ROOT/'_docs', ignore_errors=True)
    shutil.move(made.out, ROOT/'_docs')
    print(f'{len(pages)} pages in _docs/: open _docs/index.html')

def use_local_files(out, maths):
    "A site that asks no server: KaTeX from `maths`, no fonts of others, the search as a script."
    libs = out/'site_libs'
    shutil.copytree(maths, libs/'katex', ignore=shutil.ignore_patterns('*.mjs', '*.ttf', '*.woff'))
    for name in 'katex', 'contrib/auto-render':  # Debian's are not always minified
        minified = libs/f'katex/{name}.min.js'
        if not minified.exists(): shutil.copy(libs/f'katex/{name}.js', minified)
    for css in (libs/'themes').glob('*.css'):
        style = re.sub(r'@import url\([^)]*\);?', '', css.read_text(encoding='utf-8'))
        css.write_text(style, encoding='utf-8')
    replace(libs/'smalldocs.js', FETCH, LOAD)
    index = (out/'search.json').read_text(encoding='utf-8')
    (out/'search.js').write_text(f'window.searchIndex = {index};', encoding='utf-8')
    (out/'search.json').unlink()

if __name__ == '__main__': main()
