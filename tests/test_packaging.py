"What is committed, built and published is what the notebooks say."
import ast, email, json, re, socket, sys, zipfile
from configparser import ConfigParser
from pathlib import Path
from shutil import copytree
import pytest, yaml
from conftest import BIN, ROOT, files, ignored, run, snapshot

config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini')
CFG = config['DEFAULT']
NOTEBOOKS = sorted(p for p in files(ROOT/'nbs', '*.ipynb') if p.name[0] not in '_.')
ALLOWED = 'torch torchvision fastcore matplotlib scikit-learn torchmetrics accelerate pandas tqdm filelock tomli'.split()

def text(x): return x if isinstance(x, str) else ''.join(x)

def cells(path): return json.loads(path.read_text())['cells']

def differences(a, b): return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))


# The notebooks are the source

def test_export_and_clean_leave_no_difference(copy):
    "Nobody edited a module by hand, and every notebook was cleaned before it was committed."
    before = snapshot(copy)
    for tool in 'nbdev_export', 'nbdev_clean': run(BIN/tool, cwd=copy)
    assert differences(before, snapshot(copy)) == []

def test_readme_and_site_settings_are_made(copy):
    "README.md comes from index.ipynb, nbdev.yml and the Colab badges from settings.ini: `make readme` was run."
    before = snapshot(copy)
    run(sys.executable, 'tools/make_colab.py', cwd=copy)
    run(sys.executable, 'tools/make_readme.py', cwd=copy)
    run(sys.executable, '-c', 'from nbdev.quarto import refresh_quarto_yml; refresh_quarto_yml()', cwd=copy)
    assert differences(before, snapshot(copy)) == []

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_have_cells_of_their_own(nb):
    "To make the docs, nbdev runs the cells that import something, and only those: other code in them would fail there."
    code = [text(c['source']) for c in cells(nb) if c['cell_type'] == 'code']
    if not any('#| default_exp' in src for src in code): return  # makes no module, so nothing of it is run
    for src in code:
        imports = {isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(src).body}
        assert len(imports) < 2 or 'nbdev_export()' in src, src

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_saved_executed(nb):
    "A reader sees what the code printed and drew, and no error."
    code = [c for c in cells(nb) if c['cell_type'] == 'code']
    outputs = [o for c in code for o in c['outputs']]
    assert outputs or all(re.search(r'^\s*#\|\s*hide', text(c['source']), re.M) for c in code), 'no output saved'
    assert not [o['evalue'] for o in outputs if o['output_type'] == 'error']
    for c in code:
        src = text(c['source'])
        if re.search(r'^\s*(#\||%|!)', src, re.M): continue  # hidden, flagged, exported, magic
        prints = [o for o in ast.parse(src).body if isinstance(o, ast.Expr) and ast.unparse(o).startswith('print(')]
        assert not prints or c['outputs'], f'this cell prints, but its output was not saved:\n{src}'

def test_nothing_saved_names_this_machine():
    "Outputs, README and records hold no absolute path, no home and no host name."
    saved = {p: p.read_text() for p in [ROOT/'README.md', *files(pattern='*.json'), *files(pattern='*.jsonl')]}
    for nb in NOTEBOOKS:
        said = [o.get('text', '') for c in cells(nb) for o in c.get('outputs', [])]
        shown = [v for c in cells(nb) for o in c.get('outputs', []) for k,v in o.get('data', {}).items() if k.startswith('text')]
        saved[nb] = '\n'.join(map(text, said + shown))
    host = re.escape(socket.gethostname())
    here = re.compile(rf'/home/|/root/|/work/|/tmp/|/Users/|{re.escape(str(Path.home()))}/|(?<![\w-]){host}(?![\w-])')
    assert {p.name: m[0] for p,s in saved.items() if (m := here.search(s))} == {}

def test_the_owner_is_named_in_settings_alone():
    "Whoever forks changes one line: all other mentions are made from it."
    made = {'settings.ini', 'README.md', 'nbdev.yml', '_modidx.py'}
    owner = re.compile(rf"github\.com/{CFG['user']}\b|\b{CFG['user']}\.github\.io")
    made_line = re.compile(r'colab\.research\.|git clone')  # by tools/make_colab.py
    texts = {p: p.read_text().splitlines() for p in files() if p.suffix in {'.py', '.md', '.yml', '.toml', '.ipynb', '.in'} and p.name not in made}
    assert [p.name for p,lines in texts.items() if any(owner.search(l) and not made_line.search(l) for l in lines)] == []

def test_one_version():
    "Module and changelog have the version of settings.ini."
    assert f'__version__ = "{CFG["version"]}"' in (ROOT/'sgn_nb/__init__.py').read_text()
    assert re.search(rf'^## {re.escape(CFG["version"])}\b', (ROOT/'CHANGELOG.md').read_text(), re.M)

@pytest.mark.parametrize('path', sorted(files(ROOT/'.github', '*.yml')), ids=lambda p: p.stem)
def test_workflow_is_valid(path):
    "Each workflow parses, and each of its jobs has steps that run something (or calls another workflow)."
    flow = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # BaseLoader: `on` stays a word
    assert {'name', 'on', 'jobs'} <= flow.keys()
    for job in flow['jobs'].values():
        assert 'uses' in job or ('runs-on' in job and all('run' in s or 'uses' in s for s in job['steps']))


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
    assert {n for n in names if n.endswith('.py')} == {p.relative_to(ROOT).as_posix() for p in files(ROOT/'sgn_nb', '*.py')}
    assert [n for n in names if not n.startswith('sgn_nb/') or n.endswith('.ipynb')] == []

def test_wheel_needs_eleven_packages(wheel):
    "Run-time requirements are what importing and training need; all else is an extra."
    z = zipfile.ZipFile(wheel)
    meta = email.message_from_bytes(z.read(next(n for n in z.namelist() if n.endswith('.dist-info/METADATA'))))
    needs = [r for r in meta.get_all('Requires-Dist') if 'extra ==' not in r]
    assert {re.match(r'[\w-]+', r)[0] for r in needs} == set(ALLOWED)
    assert meta['Requires-Python'] == f">={CFG['min_python']}" and meta['License'] == 'Apache-2.0'

def test_wheel_imports_from_an_empty_folder(wheel, tmp_path):
    "Every module of the wheel imports, and from the wheel: nothing is borrowed from the working tree."
    run(sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', tmp_path/'site', wheel)
    code = '''import importlib, pkgutil, sgn_nb
for m in pkgutil.walk_packages(sgn_nb.__path__, 'sgn_nb.'): print(importlib.import_module(m.name).__file__)'''
    imported = run(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=str(tmp_path/'site')).stdout.split()
    assert imported and all(Path(f).is_relative_to(tmp_path/'site') for f in imported), imported

@pytest.mark.parametrize('module', ['sgn_nb', 'sgn_nb.compositional'])
def test_light_import(module):
    "Importing the package or its geometry loads neither plots nor pictures."
    code = f'import sys, {module}; print(*{{"matplotlib", "torchvision"}} & set(sys.modules))'
    assert run(sys.executable, '-c', code).stdout.split() == []
