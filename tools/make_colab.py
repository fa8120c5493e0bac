'"Open in Colab": a badge below the title of every notebook in the sections Lessons and Results, and the cell that fetches what Colab lacks.'
import hashlib, json, os, re
from configparser import ConfigParser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = 'Lessons', 'Results'
BADGE = '[![Open in Colab]'


def notebooks():
    "The notebooks of these sections of the sidebar."
    parts = re.split(r'- section: *(.+)\n', (ROOT/'nbs/sidebar.yml').read_text(encoding='utf-8'))
    return [o for name, listed in zip(parts[1::2], parts[2::2]) if name in SECTIONS for o in re.findall(r'- (\S+\.ipynb)', listed)]

def cells(name, cfg):
    "The two cells of the notebook `name`, a path below `nbs/`: every URL from settings.ini."
    folder = PurePosixPath('nbs', name).parent
    picture = PurePosixPath(os.path.relpath('nbs/images/colab.svg', folder).replace(os.sep, '/'))
    url = f"{cfg['git_url'].replace('https://github.com', 'https://colab.research.google.com/github')}/blob/{cfg['branch']}/nbs/{name}"
    badge = f'{BADGE}({picture})]({url})'
    # The whole repository, since notebooks read records and stored values that no wheel holds.
    fetch = f'''#| hide
#| eval: false
try: import {cfg['lib_name']}
except ImportError:  # on Colab
    get_ipython().system('git clone -q --depth 1 {cfg['git_url']} && pip install -q "./{cfg['repo']}[lessons]"')
    get_ipython().run_line_magic('cd', '{cfg['repo']}/{folder}')'''
    new = lambda kind, src, **more: dict(cell_type=kind, id=hashlib.sha256(f'colab {kind} {name}'.encode()).hexdigest()[:8],
                                         metadata={}, source=src.splitlines(keepends=True), **more)
    return [new('markdown', badge), new('code', fetch, execution_count=None, outputs=[])]

def is_made(cell):
    "One of the two cells, perhaps made when the notebook had another name."
    src = ''.join(cell['source'])
    return src.startswith(BADGE) or 'except ImportError:  # on Colab' in src

def main():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    for name in notebooks():
        path = ROOT/'nbs'/name
        nb, made = json.loads(path.read_text(encoding='utf-8')), cells(name, config['DEFAULT'])
        rest = [c for c in nb['cells'] if not is_made(c)]
        title = next(n for n, c in enumerate(rest) if c['cell_type'] == 'markdown' and c['source'][0].startswith('# '))
        nb['cells'] = rest[:title+1] + made + rest[title+1:]
        path.write_text(json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True) + '\n', encoding='utf-8')

if __name__ == '__main__': main()
