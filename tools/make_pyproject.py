"pyproject.toml from settings.ini: what nbdev 3 reads, so that nbdev 2 and 3 make the same modules."
import json
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATHS = 'lib_path nbs_path doc_path readme_nb branch title'.split()
SWITCHES = ('recursive put_version_in_init update_pyproject custom_sidebar clean_ids clear_all '
            'jupyter_hooks').split()
LISTS = 'tst_flags allowed_metadata_keys allowed_cell_metadata_keys'.split()
TEMPLATE = '''# Made from settings.ini by `make readme`: edit there.
[build-system]
requires = ["setuptools>=64.0"]
build-backend = "setuptools.build_meta"

[project]
name = "{lib_name}"
requires-python = ">={min_python}"
dynamic = ["authors", "classifiers", "dependencies", "description", "entry-points", "keywords",
           "license", "optional-dependencies", "readme", "scripts", "version"]

[project.urls]
Source = "{git_url}"
Documentation = "{doc_host}{doc_baseurl}"
Changelog = "{git_url}/blob/{branch}/CHANGELOG.md"

[tool.uv]
cache-keys = [{{ file = "pyproject.toml" }}, {{ file = "settings.ini" }}, {{ file = "setup.py" }}]

[tool.nbdev]
{nbdev}
'''


def settings(cfg):
    "The settings that nbdev 3 reads, with the types it wants."
    return ({name: cfg[name] for name in PATHS}
            | {name: cfg.getboolean(name) for name in SWITCHES}
            | {name: cfg[name].split() for name in LISTS})

def pyproject(cfg):
    "The whole file. What JSON writes for words, switches and lists of words is TOML, too."
    lines = [f'{name} = {json.dumps(value)}' for name, value in settings(cfg).items()]
    return TEMPLATE.format(**cfg, nbdev='\n'.join(lines))

def main():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    path, text = ROOT/'pyproject.toml', pyproject(config['DEFAULT'])
    if path.read_text(encoding='utf-8') != text:  # a newer file would be installed again by `make`
        path.write_text(text, encoding='utf-8')

if __name__ == '__main__': main()
