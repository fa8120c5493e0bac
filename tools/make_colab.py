'''"Open in Colab": a badge below the title of every notebook that runs, and the cell that fetches
what Colab lacks.'''
import hashlib
import json
import os
import re
from configparser import ConfigParser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = {'api': 'lessons,export,real,search',  # of the package, for a folder or a notebook
          'guides/04_few_images.ipynb': 'lessons,features'}
BADGE = '[![Open in Colab]'
ON_COLAB = '  # on Colab'


def notebooks():
    "The notebooks of the sidebar that a reader may want to run."
    text = (ROOT/'nbs/sidebar.yml').read_text(encoding='utf-8')
    return [name for name in re.findall(r'- (\S+/\S+\.ipynb)', text) if runs(ROOT/'nbs'/name)]

def runs(path):
    "Whether a notebook has code that its readers see."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    codes = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
    return any(not re.search(r'^#\| *(hide|default_exp)', code, re.M) for code in codes)

def cell(kind, name, source, **fields):
    "A cell whose id follows from the notebook's name, so that it stays the same."
    digest = hashlib.sha256(f'colab {kind} {name}'.encode()).hexdigest()
    return dict(cell_type=kind, id=digest[:8], metadata={},
                source=source.splitlines(keepends=True), **fields)

def cells(name, cfg):
    "The two cells of the notebook `name`, a path below `nbs/`: every URL from settings.ini."
    folder = PurePosixPath('nbs', name).parent
    picture = os.path.relpath('nbs/images/colab.svg', folder).replace(os.sep, '/')
    git, repo = cfg['git_url'], cfg['repo']
    colab = git.replace('https://github.com', 'https://colab.research.google.com/github')
    badge = f"{BADGE}({picture})]({colab}/blob/{cfg['branch']}/nbs/{name})"
    # The whole repository, since notebooks read records and stored values that no wheel holds.
    # A restart keeps the clone and what is installed; an installation that fails keeps neither.
    clone = f'/content/{repo}'
    of_folder = EXTRAS.get(PurePosixPath(name).parts[0], 'lessons')
    extras = EXTRAS.get(name, of_folder)
    set_up = f'''#| hide
#| eval: false
if 'google.colab' in str(get_ipython()):{ON_COLAB}
    from pathlib import Path
    fetch = 'git clone -q --depth 1 {git} {clone}'
    install = 'pip install -q "{clone}[{extras}]"'
    if not Path('{clone}').exists():
        get_ipython().system(f'{{fetch}} && {{install}} || rm -rf {clone}')
    if not Path('{clone}').exists():
        raise RuntimeError('{repo} could not be installed here: run this cell once more')
    get_ipython().run_line_magic('cd', '{clone}/{folder}')'''
    return [cell('markdown', name, badge),
            cell('code', name, set_up, execution_count=None, outputs=[])]

def is_title(cell): return cell['cell_type'] == 'markdown' and cell['source'][0].startswith('# ')

def is_made(cell):
    "One of the two cells, perhaps made when the notebook had another name."
    source = ''.join(cell['source'])
    return source.startswith(BADGE) or ON_COLAB in source

def add_cells(path, new):
    "Put the cells below the title; those of an earlier run go."
    nb = json.loads(path.read_text(encoding='utf-8'))
    rest = [cell for cell in nb['cells'] if not is_made(cell)]
    place = 1 + next(n for n, cell in enumerate(rest) if is_title(cell))
    nb['cells'] = rest[:place] + new + rest[place:]
    text = json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True)
    path.write_text(f'{text}\n', encoding='utf-8')

def main():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    for name in notebooks(): add_cells(ROOT/'nbs'/name, cells(name, config['DEFAULT']))

if __name__ == '__main__': main()
