"nbs/sidebar.yml from the folders of `nbs/`: a section for each reader, and in the reference one for each package."
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
SECTIONS = {'lessons': 'Lessons', 'results': 'Results', 'guides': 'Guides', 'api': 'Reference', 'about': 'About'}
PACKAGES = {'base': 'Base', 'data': 'Data', 'methods': 'Methods', 'training': 'Training',
            'experiments': 'Experiments', 'results': 'Results of many runs', 'apps': 'Applications'}


def in_order(folders, titles):
    "Folders in the order of `titles`; a folder without a title comes last, under its own name."
    place = list(titles)
    names = sorted(folders, key=lambda p: (place.index(p.name) if p.name in place else len(place), p.name))
    return [(titles.get(p.name, p.name.capitalize()), p) for p in names]

def notebooks(folder): return sorted(p for p in folder.glob('*.ipynb') if p.name[0] not in '_.')

def folders(folder):
    "The folders below that hold notebooks, at any depth."
    return [p for p in folder.iterdir() if p.is_dir() and p.name[0] not in '_.' and any(p.rglob('*.ipynb'))]

def section(title, folder, depth):
    "The lines of one section: its own notebooks first, then a section for each folder in it."
    indent = '  '*depth
    lines = [f'{indent}- section: {title}', f'{indent}  contents:']
    lines += [f'{indent}    - {p.relative_to(NBS).as_posix()}' for p in notebooks(folder)]
    for name, inner in in_order(folders(folder), PACKAGES): lines += section(name, inner, depth + 2)
    return lines

def sidebar():
    "The text of the file."
    lines = ['website:', '  sidebar:', '    contents:']
    lines += [f'      - {p.name}' for p in sorted(notebooks(NBS), key=lambda p: p.name != 'index.ipynb')]
    for title, folder in in_order(folders(NBS), SECTIONS): lines += section(title, folder, 3)
    return '\n'.join(lines) + '\n'

if __name__ == '__main__': (NBS/'sidebar.yml').write_text(sidebar(), encoding='utf-8')
