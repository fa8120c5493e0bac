"What is committed, built and published is what the notebooks say."
import ast
import email
import json
import os
import re
import socket
import sys
import venv
import zipfile
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path
from shutil import copytree
import pytest
import yaml
from packaging.requirements import Requirement
from conftest import BIN, ROOT, files, ignored, run, slow, snapshot
if sys.version_info >= (3, 11): import tomllib
else: import tomli as tomllib

config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini')
CFG = config['DEFAULT']
NOTEBOOKS = sorted(p for p in files(ROOT/'nbs', '*.ipynb') if p.name[0] not in '_.')
ALLOWED = ('torch torchvision fastcore matplotlib scikit-learn pandas torchmetrics accelerate '
           'safetensors tqdm filelock orjson tomli').split()

def text(x): return x if isinstance(x, str) else ''.join(x)

def cells(path): return json.loads(path.read_text())['cells']

def differences(a, b): return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))


# The notebooks are the source

def test_export_and_clean_leave_no_difference(copy):
    "Nobody edited a module by hand, and every notebook was cleaned before it was committed."
    original = snapshot(copy)
    for tool in 'nbdev_export', 'nbdev_clean': run(BIN/tool, cwd=copy)
    assert differences(original, snapshot(copy)) == []

def test_readme_and_site_settings_are_made(copy):
    """README.md comes from index.ipynb, the sidebar from the folders, the other files from
    settings.ini: `make readme` was run."""
    original = snapshot(copy)
    for tool in 'make_pyproject', 'make_changelog', 'make_sidebar', 'make_colab', 'make_readme':
        run(sys.executable, f'tools/{tool}.py', cwd=copy)
    refresh = 'from nbdev.quarto import refresh_quarto_yml; refresh_quarto_yml()'
    run(sys.executable, '-c', refresh, cwd=copy)
    assert differences(original, snapshot(copy)) == []

def test_both_majors_of_nbdev_read_the_same_settings():
    "nbdev 2 reads settings.ini, nbdev 3 reads pyproject.toml; they agree on all that both know."
    project = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))
    table = project['tool']['nbdev']
    as_text = {name: ' '.join(v) if isinstance(v, list) else str(v) for name, v in table.items()}
    assert as_text == {name: CFG[name] for name in table}
    assert project['project']['name'] == CFG['lib_name']
    assert project['project']['requires-python'] == f">={CFG['min_python']}"
    assert project['project']['urls']['Documentation'] == CFG['doc_host'] + CFG['doc_baseurl']

@pytest.mark.skipif('NBDEV3' not in os.environ,
                    reason='NBDEV3 must name an nbdev-export of nbdev 3')
def test_nbdev_3_makes_the_same_modules(copy):
    "Byte for byte, but for the link to the site that nbdev 3 adds to the docstring of a module."
    original = snapshot(copy)
    run(os.environ['NBDEV3'], cwd=copy)
    export = snapshot(copy)
    for name in export:
        if name.endswith('.py'): export[name] = re.sub(rb'\n\nDocs: \S+(?=""")', b'', export[name])
    assert differences(original, export) == []

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_have_cells_of_their_own(nb):
    "To make the docs, nbdev runs the cells that import something: other code in them would fail."
    code = [text(c['source']) for c in cells(nb) if c['cell_type'] == 'code']
    if not any('#| default_exp' in src for src in code): return  # no module: nothing of it is run
    for src in code:
        if 'nbdev_export()' in src or re.search(r'^#\| *eval: false', src, re.M): continue
        tree = ast.parse(src)
        is_exported = re.search(r'^#\| *exports?\b', src, re.M)
        looked_at = tree.body if is_exported else ast.walk(tree)  # inside a function, too
        imports = any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in looked_at)
        others = [n for n in tree.body if not isinstance(n, (ast.Import, ast.ImportFrom))]
        assert not imports or not others, src

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_saved_executed(nb):
    "A reader sees what the code printed and drew, and no error."
    code = [c for c in cells(nb) if c['cell_type'] == 'code']
    outputs = [o for c in code for o in c['outputs']]
    hidden = [re.search(r'^\s*#\|\s*hide', text(c['source']), re.M) for c in code]
    assert outputs or all(hidden), 'no output saved'
    assert not [o['evalue'] for o in outputs if o['output_type'] == 'error']
    for c in code:
        src = text(c['source'])
        if re.search(r'^\s*(#\||%|!)', src, re.M): continue  # hidden, flagged, exported, magic
        calls = [ast.unparse(o) for o in ast.parse(src).body if isinstance(o, ast.Expr)]
        prints = any(call.startswith('print(') for call in calls)
        assert not prints or c['outputs'], f'this cell prints, but its output was not saved:\n{src}'

def test_nothing_saved_names_this_machine():
    "Outputs, README and records hold no absolute path, no home and no host name."
    paths = [ROOT/'README.md', *files(pattern='*.json'), *files(pattern='*.jsonl')]
    # a record's bits, one a test image, are text by chance: base64, which has slashes
    saved = {p: re.sub('[A-Za-z0-9+/]{100,}', '', p.read_text()) for p in paths}
    for nb in NOTEBOOKS:
        outputs = [o for c in cells(nb) for o in c.get('outputs', [])]
        streams = [o.get('text', '') for o in outputs]
        data = [item for o in outputs for item in o.get('data', {}).items()]
        displays = [value for kind, value in data if kind.startswith('text')]
        saved[nb] = '\n'.join(map(text, streams + displays))
    host, home = re.escape(socket.gethostname()), re.escape(str(Path.home()))
    folders = f'/home/|/root/|/work/|/tmp/|/Users/|{home}/'
    machine = re.compile(rf'{folders}|(?<![\w-]){host}(?![\w-])')
    assert {p.name: m[0] for p, s in saved.items() if (m := machine.search(s))} == {}

TEXTS = {'.py', '.md', '.yml', '.toml', '.ini', '.ipynb', '.in', ''}

def lines_with(pattern, skip=()):
    "(file, line) of all texts of the project in which `pattern` occurs."
    texts = {p: p.read_text(encoding='utf-8').splitlines()
             for p in files() if p.suffix in TEXTS and p.name not in skip}
    return [(p.name, line) for p, lines in texts.items() for line in lines if pattern.search(line)]

def test_the_owner_is_named_in_settings_alone():
    "Whoever forks changes one line: all other mentions are made from it."
    made_files = {'settings.ini', 'pyproject.toml', 'README.md', 'nbdev.yml', 'sidebar.yml',
                  '_modidx.py'}
    owner = re.compile(rf"github\.com/{CFG['user']}\b|\b{CFG['user']}\.github\.io")
    made_line = re.compile(r'colab\.research\.|git clone')  # by tools/make_colab.py
    lines = lines_with(owner, made_files)
    assert [name for name, line in lines if not made_line.search(line)] == []

def test_no_package_index_is_named():
    "Where pip finds packages is a setting of whoever installs, and of nobody else."
    hosts = re.compile('|'.join([r'pypi\.' + 'org', 'shields.io/' + 'pypi', 'python' + 'hosted',
                                 r'pytorch\.org/' + 'whl']))
    assert lines_with(hosts) == []

def test_one_version():
    "Module and changelog have the version of settings.ini."
    assert f'__version__ = "{CFG["version"]}"' in (ROOT/'sgn_nb/__init__.py').read_text()
    assert re.search(rf'^## {re.escape(CFG["version"])}\b', (ROOT/'CHANGELOG.md').read_text(), re.M)

@pytest.mark.parametrize('path', sorted(files(ROOT/'.github', '*.yml')), ids=lambda p: p.stem)
def test_workflow_is_valid(path):
    """Each workflow parses, and each of its jobs has steps that run something (or calls another
    workflow)."""
    flow = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # BaseLoader: `on` stays a word
    assert {'name', 'on', 'jobs'} <= flow.keys()
    for job in flow['jobs'].values():
        if 'uses' in job: continue
        assert 'runs-on' in job and all('run' in step or 'uses' in step for step in job['steps'])


def test_the_tree_of_contributing_is_the_package():
    """Whoever looks for a module finds it where CONTRIBUTING says; one that is new, or gone, is
    noticed."""
    page = (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')
    block = page.split('```\nsgn_nb/\n')[1].split('\nnbs/\n')[0]
    lines = [re.match(r'  (?:(\w+)/ +)?(\w+(?: \w+)*)', line) for line in block.splitlines()]
    names = {f'{m[1]}.{name}' if m[1] else name for m in lines for name in m[2].split()}
    modules = [p.relative_to(ROOT/'sgn_nb').with_suffix('') for p in files(ROOT/'sgn_nb', '*.py')]
    assert names == {'.'.join(m.parts) for m in modules if m.name[0] != '_'}


# What is published

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "A wheel built from an sdist built from a copy."
    copy = copytree(ROOT, tmp_path_factory.mktemp('wheel')/'copy', ignore=ignored)
    run(sys.executable, '-m', 'build', '--no-isolation', cwd=copy)
    return next((copy/'dist').glob('*.whl'))

def test_wheel_holds_every_module_and_nothing_else(wheel):
    "No module is forgotten; no notebook, test or tool is shipped."
    names = [n for n in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in n]
    modules = {p.relative_to(ROOT).as_posix() for p in files(ROOT/'sgn_nb', '*.py')}
    assert {n for n in names if n.endswith('.py')} == modules
    assert [n for n in names if not n.startswith('sgn_nb/') or n.endswith('.ipynb')] == []

def test_wheel_needs_thirteen_packages(wheel):
    "Run-time requirements are what importing and training need; all else is an extra."
    z = zipfile.ZipFile(wheel)
    name = next(n for n in z.namelist() if n.endswith('.dist-info/METADATA'))
    meta = email.message_from_bytes(z.read(name))
    needs = [r for r in meta.get_all('Requires-Dist') if 'extra ==' not in r]
    assert {re.match(r'[\w-]+', r)[0] for r in needs} == set(ALLOWED)
    assert meta['Requires-Python'] == f">={CFG['min_python']}" and meta['License'] == 'Apache-2.0'

def unpack(wheel, site):
    options = '-q --no-deps --no-index --target'.split()
    run(sys.executable, '-m', 'pip', 'install', *options, site, wheel)

def test_wheel_imports_from_an_empty_folder(wheel, tmp_path):
    "Every module of the wheel imports from the wheel: nothing is borrowed from the working tree."
    unpack(wheel, tmp_path/'site')
    code = '''import importlib, pkgutil, sgn_nb
for m in pkgutil.walk_packages(sgn_nb.__path__, 'sgn_nb.'):
    print(importlib.import_module(m.name).__file__)'''
    imported = run(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=str(tmp_path/'site'))
    paths = [Path(line) for line in imported.stdout.splitlines()]
    assert paths and all(path.is_relative_to(tmp_path/'site') for path in paths), paths

def applies(requirement):
    "Here, and without an extra."
    return not requirement.marker or requirement.marker.evaluate({'extra': ''})

def requirements(names):
    "The distributions that these packages need, without extras, and all that those need in turn."
    names, dists = list(names), {}
    while names:
        name = names.pop()
        if name in dists: continue
        dists[name] = distribution(name)
        needs = map(Requirement, dists[name].requires or [])
        names += [need.name for need in needs if applies(need)]
    return dists.values()

@pytest.fixture
def clean(wheel, tmp_path):
    """A Python that knows the wheel and what it needs, and no extra: links to what is installed
    here."""
    venv.create(tmp_path/'clean', symlinks=os.name != 'nt')
    python = tmp_path/'clean'/Path(sys.executable).relative_to(sys.prefix)
    code = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    site = Path(run(python, '-c', code).stdout.strip())
    unpack(wheel, site)
    names = [name for name in ALLOWED if name != 'tomli' or sys.version_info < (3, 11)]
    for dist in requirements(names):
        for part in {file.parts[0] for file in dist.files} - {'..', '__pycache__'}:
            if not (site/part).exists(): (site/part).symlink_to(dist.locate_file(part).absolute())
    return python

TRAIN = """from sgn_nb.apps.cli import main_train
main_train('--n-train 200 --epochs 1 --net mlp --batch 30 --device cpu --out runs'.split())"""
REPORT = """from sgn_nb.apps.cli import main_report
main_report('photos --epochs 5 --device cpu'.split())"""

@slow
def test_wheel_trains_and_reports_without_extras(clean, tmp_path):
    """What the wheel needs is enough for a training and for a label report; no extra is there to
    help."""
    assert run(clean, '-c', 'import nbdev', cwd=tmp_path, ok=False).returncode
    run(clean, '-c', TRAIN, cwd=tmp_path)
    assert list((tmp_path/'runs').glob('digits_*.json'))
    run(clean, ROOT/'tools/make_photos.py', tmp_path/'photos')
    run(clean, '-c', REPORT, cwd=tmp_path)
    results = {p.name for p in (tmp_path/'label_report').iterdir()}
    assert {'report.csv', 'corrected.csv', 'model.safetensors', 'report.html'} <= results

@pytest.mark.parametrize('module', ['sgn_nb', 'sgn_nb.compositional'])
def test_light_import(module):
    "Importing the package or its geometry loads neither plots nor pictures."
    code = f'import sys, {module}; print(*{{"matplotlib", "torchvision"}} & set(sys.modules))'
    assert run(sys.executable, '-c', code).stdout.split() == []
