"""The site in _docs/, without Quarto: nbdev processes the notebooks, smalldocs lays them out, KaTeX
comes from this machine."""
import base64
import json
import os
import posixpath
import re
import shutil
import struct
import sys
from html import unescape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where Debian and Ubuntu put it.
KATEX = [Path('/usr/share/javascript/katex'), Path('/usr/share/nodejs/katex/dist')]
FORMULAS = 'site_libs/katex'  # where the site keeps it
FETCH = 'const r = await fetch(offset + "search.json");\n      index = await r.json();'
OUTPUT = (r'<div class="cell-output cell-output-(stdout|display)">\s*'
          r'<pre[^>]*><code[^>]*>(.*?)</code></pre>')
ROW = r'^\||\S {3,}\S'  # a line that is part of a table
WIDE, WIDE_ROW = 96, 110  # characters: more than the column has room for, and far more
# A link in a link's text: [words [`name`](there) words](here)
NESTED = re.compile(r'\[([^][]*)\[(`[^`]+`)\]\(([^)\s]*)\)([^][]*)\]\(([^)\s]*)\)')
PATH_CELL = re.compile(r'(?<=<td>)[\w.-]+(/[\w.-]+){2,}(?=</td>)')
DESCRIPTION = re.compile(r'<meta (name|property)="(og:|twitter:)?description"[^>]*>')
SPREAD = re.compile(r'[+−]?[\d.]+ ±&nbsp;[\d.]+(&nbsp;\(\d+\))?')  # stays on one line
ACTIONS = '<div class="toc-actions">'  # smalldocs' links below a page's table of contents
EXPORTED = '#| code-summary: "Exported source"'  # nbdev's words
# What the method is, in code: a page shows it without being asked.
METHOD = {'alr', 'clr', 'ilr', 'ilr_inv', 'label_smoothing', 'to_target', 'rank_one_nll', 'isotropic_nll',
          'loss_weight', 'shift_weight', 'effective_target', 'shifted_residual', 'EMA', 'SGNLoss',
          'residual', 'nll', 'fit', 'Method'}
# A page opened from the disk may load a script, but not fetch a file.
LOAD = '''index = await new Promise((done, fail) => {
        const s = document.createElement("script");
        s.src = offset + "search.js";
        s.onload = () => done(window.searchIndex);
        s.onerror = fail;
        document.head.append(s);
      });'''

from check_docs import find_notebooks, find_pages

try: from smalldocs import config, layout, site
except ImportError:
    sys.exit(f'smalldocs is missing from {sys.executable}: '
             '`make docs` installs it, or pip install -e ".[dev,docs]"')


def katex():
    "The folder of this machine's KaTeX."
    for folder in KATEX:
        if (folder/'contrib/auto-render.js').exists(): return folder
    sys.exit(f"KaTeX is in none of {', '.join(map(str, KATEX))}: apt-get install libjs-katex")

def without_links(fence): return re.sub(r'\[(`[^`\n]+`)\]\(http[^)\s]*\)', r'\1', fence[0])

def source(cell): return ''.join(cell['source'])

def is_signature(cell):
    return cell['cell_type'] == 'code' and 'show_doc(' in source(cell)

def is_private(cell):
    "A signature that nbdev gives to a method of a private class, too; its source is shown anyway."
    return is_signature(cell) and 'show_doc(_' in source(cell)

def unfold(cell):
    "Exported source: open where it is the method itself, folded elsewhere, and called by its names."
    names = re.findall(r'^(?:def|class) (\w+)|^(\w+) *=', source(cell), flags=re.M)
    names = [name or value for name, value in names]
    fold = 'show' if METHOD.intersection(names) else 'true'
    text = source(cell).replace('#| code-fold: show', f'#| code-fold: {fold}', 1)
    summary = f'Source of {", ".join(names)}' if names else 'Exported source'
    cell['source'] = text.replace(EXPORTED, f'#| code-summary: "{summary}"', 1)

def below_signatures(cells):
    "The cells, each exported one below the signatures of what it defines."
    ordered = []
    for cell in cells:
        exported = ordered and EXPORTED in source(ordered[-1])
        if exported and is_signature(cell): ordered.insert(-1, cell)
        else: ordered.append(cell)
    for cell in ordered:
        if EXPORTED in source(cell): unfold(cell)
    return ordered

def is_proof(cell):
    "Whether a cell does nothing but test, so that it shows nothing."
    if cell['cell_type'] != 'code' or cell['outputs']: return False
    return re.search(r'^ *(assert|test_\w+\(|with ExceptionExpected)', source(cell), flags=re.M)

def fold_proof(cell):
    if 'code-fold' in source(cell) or EXPORTED in source(cell): return
    cell['source'] = f'#| code-fold: true\n#| code-summary: "Proof"\n{source(cell)}'

def unnest(link):
    "The name's link where the text is nothing else, and otherwise that of all the words."
    before, name, there, after, here = link.groups()
    if not before + after: return f'[{name}]({there})'
    return f'[{before}{name}{after}]({here})'

def mend(path):
    """Signatures stand above their source. nbdev links names in the text of a link, and in a
    signature's comments as in words; between code fences that is no link, but noise."""
    nb = json.loads(path.read_text(encoding='utf-8'))
    cells = [cell for cell in nb['cells'] if not is_private(cell)]
    nb['cells'] = below_signatures(cells)
    for cell in nb['cells']:
        if cell['cell_type'] == 'markdown': cell['source'] = NESTED.sub(unnest, source(cell))
    if path.parent.name == 'lessons':  # a page for one sitting: its proofs are folded
        for cell in filter(is_proof, nb['cells']): fold_proof(cell)
    outputs = [o.get('data', {}) for c in nb['cells'] for o in c.get('outputs', [])]
    for data in outputs:
        if 'text/markdown' not in data: continue
        words = ''.join(data['text/markdown'])
        data['text/markdown'] = re.sub(r'^```.*?^```', without_links, words, flags=re.M | re.S)
    path.write_text(json.dumps(nb), encoding='utf-8')

class Site(site.Site):
    "A smalldocs site with nbdev's page names, and links out of `nbs/` that lead to the repository."
    def read(self, src):
        page = super().read(src)
        page.out = page.out.with_name(page.front.get('output-file', page.out.name))
        return page

    def resolve(self, href, page, record=True):
        folder = str(page.src.parent) if page else ''
        target = posixpath.normpath(posixpath.join(folder, href))
        if not target.startswith('../'): return super().resolve(href, page, record)
        web = self.project.website
        return f"{web['repo-url']}/blob/{web['repo-branch']}/{target[3:]}"

def sized(img):
    "An inline picture with its width and height, so that the text does not jump when it appears."
    w, h = struct.unpack('>II', base64.b64decode(img[1][:32])[16:24])
    return img[0].replace('<img ', f'<img width="{w}" height="{h}" ')

def numbers(table):
    """A table of numbers says so to styles.css; ± and the number of runs stay with their number, on
    its line where there are few columns."""
    second = re.findall(r'<tr[^>]*>\s*<td.*?</td>\s*<td[^>]*>(.*?)</td>', table[0], flags=re.S)
    numeric = all(re.match(r'[+−]?[\d.–]', content) for content in second)
    if '± ' not in table[0] and not numeric: return table[0]
    html = re.sub(r'(?<=±) | (?=\(\d+\))', '&nbsp;', table[0])
    columns = len(re.findall(r'<th[ >]', html))
    if columns < 8: html = SPREAD.sub(r'<span class="spread">\g<0></span>', html)
    return html.replace('class="', 'class="numbers ', 1)

def printed(out):
    """What a cell printed: words may wrap, columns may not, unless most of a row could not be seen;
    and never those between bars."""
    if out[1] == 'stdout' and not re.search(ROW, out[2], re.M):
        return out[0].replace('cell-output-stdout', 'cell-output-stdout words')
    lines = [wrapped(line) for line in out[2].split('\n')]
    return out[0].replace(out[2], '\n'.join(lines))

def wrapped(line):
    wide = WIDE_ROW if re.search(ROW, line) else WIDE
    is_long = len(unescape(line)) > wide and not line.startswith('|')
    return f'<span class="words">{line}</span>' if is_long else line

def breakable(path):
    "A long name leaves room for the other columns of its table."
    return path[0].replace('/', '/<wbr>')

def without_stars(description):
    "A search engine shows it as it is, and knows no Markdown."
    return re.sub(r'[*`]', '', description[0])

def finish(text, page, base, ids):
    """A page's HTML: links of the site's own made relative, and to the class where a method has no
    heading of its own."""
    folder = posixpath.dirname(page) or '.'
    def link(m):
        name, _, anchor = m[1].partition('#')
        if anchor and anchor not in ids.get(name, ()): anchor = anchor.split('.')[0]
        path = posixpath.relpath(name or 'index.html', folder)
        return f'href="{path}{"#"*bool(anchor)}{anchor}"'
    text = text.replace(f'"{FORMULAS}/', f'"{posixpath.relpath(FORMULAS, folder)}/')
    text = re.sub(rf'href="{re.escape(base)}/?([^"]*)"', link, text)
    # The formulas stand before the first view.
    text = text.replace('smalldocs.js" defer', 'smalldocs.js" defer blocking="render"')
    text = re.sub(r'<table class=.*?</table>', numbers, text, flags=re.S)
    text = re.sub(OUTPUT, printed, text, flags=re.S)
    text = PATH_CELL.sub(breakable, text)
    text = DESCRIPTION.sub(without_stars, text)
    return re.sub(r'<img [^>]*src="data:image/png;base64,([^"]+)"[^>]*>', sized, text)

def download(file, icon, words):
    return (f'<div class="action-links"><a href="{file}" class="toc-action" download>'
            f'<i class="bi bi-{icon}"></i> {words}</a></div>')

def offer_downloads(pages):
    "Each notebook beside its page, and links to it and to the page's words as Markdown."
    for name, nb in find_notebooks().items():
        page = pages[name]
        shutil.copy(nb, page.with_suffix('.ipynb'))
        links = (download(f'{page.stem}.ipynb', 'download', 'Notebook'),
                 download(f'{page.stem}.llms.md', 'filetype-md', 'Markdown'))
        replace(page, ACTIONS, ''.join([ACTIONS, *links]))

def replace(path, old, new):
    "Change a file of smalldocs; one that has changed since is an error, not silence."
    text = path.read_text(encoding='utf-8')
    if old not in text:
        sys.exit(f'{path.name} no longer holds {old!r}: is it smalldocs 0.5.4?')
    path.write_text(text.replace(old, new), encoding='utf-8')

def add_katex(folder, libs):
    "This machine's KaTeX among the site's libraries. Debian's files are not always minified."
    unused = shutil.ignore_patterns('*.mjs', '*.ttf', '*.woff')
    shutil.copytree(folder, libs/'katex', ignore=unused)
    for name in 'katex', 'contrib/auto-render':
        short = libs/f'katex/{name}.min.js'
        if not short.exists(): shutil.copy(libs/f'katex/{name}.js', short)

def work_offline(out):
    "No fonts from a server, and a search index that a page opened from the disk can load."
    libs = out/'site_libs'
    for css in (libs/'themes').glob('*.css'):
        text = css.read_text(encoding='utf-8')
        css.write_text(re.sub(r'@import url\([^)]*\);?', '', text), encoding='utf-8')
    replace(libs/'smalldocs.js', FETCH, LOAD)
    index = (out/'search.json').read_text(encoding='utf-8')
    (out/'search.js').write_text(f'window.searchIndex = {index};', encoding='utf-8')
    (out/'search.json').unlink()

def finish_pages(pages, base):
    texts = {name: p.read_text(encoding='utf-8') for name, p in pages.items()}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
    for name, text in texts.items():
        pages[name].write_text(finish(text, name, base, ids), encoding='utf-8')

def main():
    os.chdir(ROOT)
    from nbdev.serve import proc_nbs
    maths = katex()
    n = len(list((ROOT/'nbs').rglob('*.ipynb')))
    print(f'{n} notebooks: signatures and links (half a minute) ...', flush=True)
    proc = proc_nbs(n_workers=2, force=True)
    print('pages ...', flush=True)
    for nb in proc.rglob('*.ipynb'): mend(nb)
    layout.KATEX = FORMULAS  # not a server's; `finish` makes it relative to each page
    docs = Site(config.load(proc), quiet=True)
    docs.build()
    if docs.broken:
        links = [f'{src}: {href}' for src, href in docs.broken]
        sys.exit('\n'.join(['broken links:', *links]))

    pages = find_pages(docs.out)
    add_katex(maths, docs.out/'site_libs')
    work_offline(docs.out)
    finish_pages(pages, docs.project.website['site-url'])
    offer_downloads(pages)
    (docs.out/'.nojekyll').touch()  # GitHub Pages: serve the files as they are
    shutil.rmtree(ROOT/'_docs', ignore_errors=True)
    shutil.move(docs.out, ROOT/'_docs')
    print(f'{len(pages)} pages in _docs/: open _docs/index.html')

if __name__ == '__main__': main()
