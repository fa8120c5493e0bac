"""README.md from nbs/index.ipynb, without Quarto: its words, code and saved outputs; pictures go to
nbs/images/readme-N.png."""
import argparse, base64, json, os, re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HIDE = re.compile(r'^\s*#\|\s*(hide|default_exp|include:\s*false)\b', re.M)
LINK = re.compile(r'(\]\()(?!\w+:|[#/])')  # a relative link's start: it is relative to the notebook


def text(x): return x if isinstance(x, str) else ''.join(x)

def option(src, name):
    "The value of a directive `#| name: value`, or None."
    m = re.search(rf'^\s*#\|\s*{name}:\s*(.*?)\s*$', src, re.M)
    return m and m[1].strip('\'"')

def badges(cfg):
    "Tests, documentation, release: every URL from settings.ini."
    git, docs = cfg['git_url'], cfg['doc_host'] + cfg['doc_baseurl']
    tests, lib = f'{git}/actions/workflows/test.yml', cfg['lib_name']
    return (f'[![tests]({tests}/badge.svg)]({tests}) '
            f'[![docs](https://img.shields.io/badge/docs-read-blue)]({docs}) '
            f'[![PyPI](https://img.shields.io/pypi/v/{lib})](https://pypi.org/project/{lib})')

def output(out, src, picture):
    "One saved output as Markdown, no stderr; `picture(png)` stores a picture and returns its path."
    data = out.get('data', {})
    if 'text/markdown' in data: return text(data['text/markdown'])
    if 'image/png' in data:
        caption = option(src, 'fig-alt') or option(src, 'fig-cap') or 'what the cell above draws'
        return f"![{caption}]({picture(base64.b64decode(text(data['image/png'])))})"
    stdout = out.get('text', '') if out.get('name') == 'stdout' else ''
    plain = text(data.get('text/plain', stdout))
    return f'```\n{plain.rstrip()}\n```' if plain.strip() else ''

def relinked(src, folder):
    "Words with links relative to `folder`; code between fences stays as it is."
    pieces = re.split(r'(^```.*?^```)', src, flags=re.M | re.S)
    return ''.join(p if p.startswith('```') else LINK.sub(rf'\1{folder}/', p) for p in pieces)

def readme(nb, cfg, images, here):
    "The README's text; pictures go into `images`, links are made relative to the folder `here`."
    pngs, parts = [], []
    def relative(path): return Path(os.path.relpath(path, here)).as_posix()
    def picture(png):
        pngs.append(images/f'readme-{len(pngs) + 1}.png')
        images.mkdir(parents=True, exist_ok=True)
        pngs[-1].write_bytes(png)
        return relative(pngs[-1])
    for cell in nb['cells']:
        src = text(cell['source'])
        if cell['cell_type'] == 'markdown':
            parts.append(relinked(src, relative(images.parent)))
        elif cell['cell_type'] == 'code' and not HIDE.search(src):
            code = re.sub(r'^\s*#\|.*\n?', '', src, flags=re.M).strip()
            if code and option(src, 'echo') != 'false': parts.append(f'```python\n{code}\n```')
            if option(src, 'output') == 'false': continue
            parts += [output(o, src, picture) for o in cell['outputs']]
    for old in set(images.glob('readme-*.png')) - set(pngs): old.unlink()
    parts = [p.strip() for p in parts if p.strip()]
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
    words = readme(nb, config['DEFAULT'], a.notebook.parent/'images', a.readme.parent)
    a.readme.write_text(words, encoding='utf-8')

if __name__ == '__main__': main()
