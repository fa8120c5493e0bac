"""Badges "Open in Colab" below the title of every notebook in the sections Lessons and Results, and
the cell that fetches what Colab lacks."""
import hashlib, json, re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = 'Lessons', 'Results'


def notebooks():
    "The notebooks of these sections of the sidebar."
    sidebar = (ROOT/'nbs/sidebar.yml').read_text(encoding='utf-8')
    _, *parts = re.split(r'- section: *(.+)\n', sidebar)
    files = ''.join(entries for name, entries in zip(parts[::2], parts[1::2]) if name in SECTIONS)
    return re.findall(r'- (\S+\.ipynb)', files)

def is_title(cell):
    return cell['cell_type'] == 'markdown' and cell['source'][0].startswith('# ')

def cells(name, cfg):
    "The two cells of the notebook `name`: every URL from settings.ini."
    colab = cfg['git_url'].replace('https://github.com', 'https://colab.research.google.com/github')
    badge = f"[![Open in Colab](images/colab.svg)]({colab}/blob/{cfg['branch']}/nbs/{name})"
    # The whole repository, since notebooks read records and stored values that no wheel holds.
    clone = f"git clone -q --depth 1 {cfg['git_url']}"
    install = f'''pip install -q "./{cfg['repo']}[lessons]"'''
    fetch = f'''#| hide
#| eval: false
try: import {cfg['lib_name']}
except ImportError:  # on Colab
    get_ipython().system('{clone} && {install}')
    get_ipython().run_line_magic('cd', '{cfg['repo']}/nbs')'''
    def new(kind, src, **more):
        id = hashlib.sha256(f'colab {kind} {name}'.encode()).hexdigest()[:8]
        source = src.splitlines(keepends=True)
        return dict(cell_type=kind, id=id, metadata={}, source=source, **more)
    return [new('markdown', badge), new('code', fetch, execution_count=None, outputs=[])]

def main():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    for name in notebooks():
        path = ROOT/'nbs'/name
        nb, made = json.loads(path.read_text(encoding='utf-8')), cells(name, config['DEFAULT'])
        ids = {m['id'] for m in made}
        rest = [c for c in nb['cells'] if c['id'] not in ids]
        title = next(n for n, c in enumerate(rest) if is_title(c))
        nb['cells'] = rest[:title+1] + made + rest[title+1:]
        text = json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True)
        path.write_text(text + '\n', encoding='utf-8')

if __name__ == '__main__': main()
