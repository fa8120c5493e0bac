"The site in _docs/, without Quarto: nbdev processes the notebooks, smalldocs lays them out, KaTeX comes from this machine."
import base64, json, os, posixpath, re, shutil, struct, sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
KATEX = [Path('/usr/share/javascript/katex'), Path('/usr/share/nodejs/katex/dist')]  # where Debian and Ubuntu put it
FORMULAS = 'site_libs/katex'  # where the site keeps it
FETCH = 'const r = await fetch(offset + "search.json");\n      index = await r.json();'
# A page opened from the disk may load a script, but not fetch a file.
LOAD = '''index = await new Promise((done, fail) => {
        const s = document.createElement("script");
        s.src = offset + "search.js"; s.onload = () => done(window.searchIndex); s.onerror = fail;
        document.head.append(s);
      });'''

try: from smalldocs import config, layout, site
except ImportError: sys.exit(f'smalldocs is missing from {sys.executable}: `make docs` installs it, or pip install -e ".[dev,docs]"')


def katex():
    "The folder of this machine's KaTeX."
    for folder in KATEX:
        if (folder/'contrib/auto-render.js').exists(): return folder
    sys.exit(f"KaTeX is in none of {', '.join(map(str, KATEX))}: apt-get install libjs-katex")

def mend(path):
    "nbdev links names in a signature's comments as in words; between code fences that is no link, but noise."
    nb = json.loads(path.read_text(encoding='utf-8'))
    for data in (o['data'] for c in nb['cells'] for o in c.get('outputs', []) if 'text/markdown' in o.get('data', {})):
        words = ''.join(data['text/markdown'])
        data['text/markdown'] = re.sub(r'^```.*?^```', lambda m: re.sub(r'\[(`[^`\n]+`)\]\(http[^)\s]*\)', r'\1', m[0]), words, flags=re.M | re.S)
    path.write_text(json.dumps(nb), encoding='utf-8')

class Site(site.Site):
    "A smalldocs site with nbdev's page names, and links out of `nbs/` that lead to the repository."
    def read(self, src):
        page = super().read(src)
        page.out = page.out.with_name(page.front.get('output-file', page.out.name))
        return page

    def resolve(self, href, page, record=True):
        target = posixpath.normpath(posixpath.join(str(page.src.parent), href)) if page else href
        if not target.startswith('../'): return super().resolve(href, page, record)
        web = self.project.website
        return f"{web['repo-url']}/blob/{web['repo-branch']}/{target[3:]}"

def sized(img):
    "An inline picture with its width and height, so that the text does not jump when it appears."
    w, h = struct.unpack('>II', base64.b64decode(img[1][:32])[16:24])
    return img[0].replace('<img ', f'<img width="{w}" height="{h}" ')

def numbers(table):
    "A table of numbers says so to styles.css, and ± and the number of runs stay with their number."
    second = re.findall(r'<tr[^>]*>\s*<td.*?</td>\s*<td[^>]*>(.*?)</td>', table[0], flags=re.S)
    if '± ' not in table[0] and not all(re.match(r'[+−]?[\d.–]', c) for c in second): return table[0]
    return re.sub(r'(?<=±) | (?=\(\d+\))', '&nbsp;', table[0]).replace('class="', 'class="numbers ', 1)

def printed(out):
    "What a cell printed: words may wrap, columns may not."
    return out[0] if re.search(r'^\||\S {3,}\S', out[1], re.M) else out[0].replace('cell-output-stdout', 'cell-output-stdout words')

def finish(text, page, base, ids):
    "A page's HTML: links of the site's own made relative, and to the class where a method has no heading of its own."
    folder = posixpath.dirname(page)
    def link(m):
        name, _, anchor = m[1].partition('#')
        if anchor and anchor not in ids.get(name, ()): anchor = anchor.split('.')[0]
        path = posixpath.relpath(name or 'index.html', folder or '.')
        return f'href="{path}{"#"*bool(anchor)}{anchor}"'
    text = text.replace(f'"{FORMULAS}/', f'"{posixpath.relpath(FORMULAS, folder or ".")}/')
    text = re.sub(rf'href="{re.escape(base)}/?([^"]*)"', link, text)
    text = text.replace('smalldocs.js" defer', 'smalldocs.js" defer blocking="render"')  # the formulas stand before the first view
    text = re.sub(r'<table class=.*?</table>', numbers, text, flags=re.S)
    text = re.sub(r'<div class="cell-output cell-output-stdout">\s*<pre[^>]*><code[^>]*>(.*?)</code></pre>', printed, text, flags=re.S)
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
    for nb in proc.rglob('*.ipynb'): mend(nb)
    layout.KATEX = FORMULAS  # instead of a server's; `finish` makes it relative to each page
    made = Site(config.load(proc), quiet=True)
    made.build()
    if made.broken: sys.exit('broken links:\n' + '\n'.join(f'{src}: {href}' for src,href in made.broken))

    libs = made.out/'site_libs'
    pages = {p.relative_to(made.out).as_posix(): p for p in sorted(made.out.rglob('*.html')) if libs not in p.parents}
    shutil.copytree(maths, libs/'katex', ignore=shutil.ignore_patterns('*.mjs', '*.ttf', '*.woff'))
    for name in 'katex', 'contrib/auto-render':  # Debian's are not always minified
        if not (libs/f'katex/{name}.min.js').exists(): shutil.copy(libs/f'katex/{name}.js', libs/f'katex/{name}.min.js')
    for css in (libs/'themes').glob('*.css'):
        css.write_text(re.sub(r'@import url\([^)]*\);?', '', css.read_text(encoding='utf-8')), encoding='utf-8')
    replace(libs/'smalldocs.js', FETCH, LOAD)
    (made.out/'search.js').write_text(f"window.searchIndex = {(made.out/'search.json').read_text(encoding='utf-8')};", encoding='utf-8')
    (made.out/'search.json').unlink()

    texts = {name: p.read_text(encoding='utf-8') for name,p in pages.items()}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', t)) for name,t in texts.items()}
    base = made.project.website['site-url']
    for name,t in texts.items(): pages[name].write_text(finish(t, name, base, ids), encoding='utf-8')
    (made.out/'.nojekyll').touch()  # GitHub Pages: serve the files as they are
    shutil.rmtree(ROOT/'_docs', ignore_errors=True)
    shutil.move(made.out, ROOT/'_docs')
    print(f'{len(pages)} pages in _docs/: open _docs/index.html')

if __name__ == '__main__': main()
