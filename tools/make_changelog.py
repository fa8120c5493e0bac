"nbs/about/04_changelog.ipynb, a page of the site, from CHANGELOG.md."
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT/'nbs/about/04_changelog.ipynb'
LINK = re.compile(r'(?<=\]\()(?!\w+:|[#/])(?=[^)\s]+)')  # before one that is relative to the project


def cell(name, source):
    return {'cell_type': 'markdown', 'id': name, 'metadata': {},
            'source': source.splitlines(keepends=True)}

def page(changelog):
    "The notebook: a title with its tagline, and a cell for each section."
    title, *sections = re.split(r'\n+(?=## )', LINK.sub('../../', changelog.strip()))
    heading, tagline = title.split('\n', 1)
    cells = [cell('changelog-0', f'{heading}\n> {tagline.strip()}')]
    cells += [cell(f'changelog-{n}', words) for n, words in enumerate(sections, 1)]
    return {'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}

def main():
    nb = page((ROOT/'CHANGELOG.md').read_text(encoding='utf-8'))
    text = json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True)
    PAGE.write_text(f'{text}\n', encoding='utf-8')

if __name__ == '__main__': main()
