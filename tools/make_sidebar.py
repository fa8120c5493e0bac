"""nbs/sidebar.yml from the folders of `nbs/`: a section for each reader, and in the reference one
for each package; and the link to the repository in the bar."""
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
SECTIONS = {'lessons': 'Lessons', 'results': 'Results', 'guides': 'Guides', 'api': 'Reference',
            'about': 'About'}
PACKAGES = {'base': 'Base', 'reading': 'Reading', 'data': 'Data', 'methods': 'Methods',
            'training': 'Training', 'experiments': 'Experiments', 'results': 'Results of many runs',
            'apps': 'Applications'}


def is_draft(path): return path.name[0] in '_.'

def notebooks(folder): return sorted(p for p in folder.glob('*.ipynb') if not is_draft(p))

def subfolders(folder, titles):
    """The folders that hold notebooks, in the order of `titles`; one without a title comes last,
    under its own name."""
    inner = [p for p in folder.iterdir() if p.is_dir() and not is_draft(p)]
    places = {name: k for k, name in enumerate(titles)}
    def place(p): return places.get(p.name, len(places)), p.name
    folders = sorted((p for p in inner if any(p.rglob('*.ipynb'))), key=place)
    return {titles.get(p.name, p.name.capitalize()): p for p in folders}

def section(title, folder, depth):
    "The lines of one section: its own notebooks first, then a section for each folder in it."
    indent = '  '*depth
    lines = [f'{indent}- section: {title}', f'{indent}  contents:']
    lines += [f'{indent}    - {p.relative_to(NBS).as_posix()}' for p in notebooks(folder)]
    for name, inner in subfolders(folder, PACKAGES).items():
        lines += section(name, inner, depth + 2)
    return lines

def sidebar():
    "The text of the file; the front page is the first."
    loose = sorted(notebooks(NBS), key=lambda p: p.name != 'index.ipynb')
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    url = config['DEFAULT']['git_url']
    lines = ['website:', '  navbar:', '    tools:', '      - icon: github', f'        href: {url}',
             '        text: The repository', '  sidebar:', '    contents:']
    lines += [f'      - {p.name}' for p in loose]
    for title, folder in subfolders(NBS, SECTIONS).items(): lines += section(title, folder, 3)
    return '\n'.join(lines) + '\n'

if __name__ == '__main__': (NBS/'sidebar.yml').write_text(sidebar(), encoding='utf-8')
