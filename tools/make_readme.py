"""README.md from nbs/index.ipynb, without Quarto: its words, code and saved outputs; pictures go to
nbs/images/readme-N.png."""
import argparse
import base64
import json
import os
import posixpath
import re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HIDE = re.compile(r'^\s*#\|\s*(hide|default_exp|include:\s*false)\b', re.M)
LINK = re.compile(r'(?<=\]\()(?!\w+:|[#/])[^)\s]+')  # one that is relative to the notebook


def text(x): return x if isinstance(x, str) else ''.join(x)

def option(src, name):
    "The value of a directive `#| name: value`, or None."
    m = re.search(rf'^\s*#\|\s*{name}:\s*(.*?)\s*$', src, re.M)
    return m and m[1].strip('\'"')

def badges(cfg):
    "Tests and documentation: every URL from settings.ini."
    tests = f"{cfg['git_url']}/actions/workflows/test.yml"
    docs = cfg['doc_host'] + cfg['doc_baseurl']
    return (f'[![tests]({tests}/badge.svg)]({tests}) '
            f'[![docs](https://img.shields.io/badge/docs-read-blue)]({docs})')

def output(out, src, picture):
    """One saved output as Markdown; `picture(png)` stores a picture and returns its path. Progress
    bars (stderr) stay out."""
    data = out.get('data', {})
    if 'text/markdown' in data: return text(data['text/markdown'])
    if 'image/png' in data:
        caption = option(src, 'fig-alt') or option(src, 'fig-cap') or 'what the cell above draws'
        return f"![{caption}]({picture(base64.b64decode(text(data['image/png'])))})"
    printed = out.get('text', '') if out.get('name') == 'stdout' else ''
    plain = text(data.get('text/plain', printed)).rstrip()
    return f'```\n{plain}\n```' if plain.strip() else ''

def words(src, folder):
    "Markdown with its links relative to the README; code in the prose stays as it is."
    def move(link): return posixpath.normpath(f'{folder}/{link[0]}')
    fences = re.split(r'(^```.*?^```)', src, flags=re.M | re.S)
    return ''.join(s if s.startswith('```') else LINK.sub(move, s) for s in fences)

def visible_parts(cell, picture):
    "A code cell's source and outputs, as far as its directives let them be seen."
    src = text(cell['source'])
    code = re.sub(r'^\s*#\|.*\n?', '', src, flags=re.M).strip()
    parts = [f'```python\n{code}\n```'] if code and option(src, 'echo') != 'false' else []
    if option(src, 'output') != 'false': parts += [output(o, src, picture) for o in cell['outputs']]
    return parts

def readme(nb, cfg, images, folder):
    """The README's text; pictures are written into `images`, links are made relative to the
    `folder`."""
    pngs = []
    parts = []
    def relative(path): return Path(os.path.relpath(path, folder)).as_posix()
    def picture(png):
        pngs.append(images/f'readme-{len(pngs) + 1}.png')
        images.mkdir(parents=True, exist_ok=True)
        pngs[-1].write_bytes(png)
        return relative(pngs[-1])
    for cell in nb['cells']:
        kind, src = cell['cell_type'], text(cell['source'])
        if kind == 'markdown': parts.append(words(src, relative(images.parent)))
        elif kind == 'code' and not HIDE.search(src): parts += visible_parts(cell, picture)
    for old in set(images.glob('readme-*.png')) - set(pngs): old.unlink()
    parts = [part.strip() for part in parts if part.strip()]
    title, *rest = parts[0].split('\n\n', 1) if parts else [f"# {cfg['title']}"]
    note = '<!-- Made from nbs/index.ipynb by `make readme`: edit there. -->'
    return '\n\n'.join([note, title, badges(cfg), *rest, *parts[1:]]) + '\n'

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('notebook', nargs='?', type=Path, default=ROOT/'nbs/index.ipynb')
    p.add_argument('readme', nargs='?', type=Path, default=ROOT/'README.md')
    p.add_argument('--settings', type=Path, default=ROOT/'settings.ini')
    a = p.parse_args()
    config = ConfigParser(delimiters=['='])
    config.read(a.settings, encoding='utf-8')
    nb = json.loads(a.notebook.read_text(encoding='utf-8'))
    markdown = readme(nb, config['DEFAULT'], a.notebook.parent/'images', a.readme.parent)
    a.readme.write_text(markdown, encoding='utf-8')

if __name__ == '__main__': main()
