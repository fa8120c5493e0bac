"The page that tells how to contribute is tried: its example is a cell of ours, and its thirteenth method works everywhere."
import re, sys
from functools import cache
from shutil import copytree
import nbformat
import pytest
from conftest import BIN, ROOT, ignored, run, slow

PAGE = (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')
RECIPE = PAGE.split('## Add a method')[1]

def blocks(text, kind, indent=''):
    "The blocks of code on a page."
    found = re.findall(rf'^{indent}```{kind}\n(.*?)^{indent}```', text, re.S | re.M)
    return [re.sub(f'^{indent}', '', b, flags=re.M) for b in found]

def edit(path, change):
    "Change a notebook's list of cells in place."
    nb = nbformat.read(path, 4)
    change(nb.cells)
    nbformat.write(nb, path)

@cache
def source(path):
    "The code of a file or a notebook."
    if path.suffix == '.py': return path.read_text(encoding='utf-8')
    cells = nbformat.read(path, 4).cells
    return '\n'.join(c.source for c in cells if c.cell_type == 'code')

def is_imported(module, code):
    "Is `sgn_nb.….module` imported by this code, absolutely or relatively?"
    return re.search(rf'\bfrom (sgn_nb)?[\w.]*\b{module} import\b|\bimport sgn_nb[\w.]*\.{module}\b', code)

def knowing():
    "Modules that know methods, directly or through one that does, the methods' own among them."
    modules = [p for p in (ROOT/'sgn_nb').rglob('*.py') if not p.stem.startswith('_')]
    known = {p.stem for p in modules if p.parent.name == 'methods'}
    while True:
        more = {p.stem for p in modules if any(is_imported(m, source(p)) for m in known)} - known
        if not more: return known
        known |= more

def are_concerned(folder, pattern):
    "Notebooks or tests that import a module that knows methods, or start a command."
    known = knowing()
    def concerns(p): return "BIN/'sgn_" in source(p) or any(is_imported(m, source(p)) for m in known)
    return sorted(p.relative_to(ROOT).as_posix() for p in (ROOT/folder).rglob(pattern) if concerns(p))

NOTEBOOKS = are_concerned('nbs', '*.ipynb')
TESTS = [t for t in are_concerned('tests', 'test_*.py') if 'contributing' not in t]

@pytest.fixture(scope='module')
def thirteen(tmp_path_factory):
    "A copy of the project with the page's method: one cell into a notebook, one line into the registry, exported."
    copy = copytree(ROOT, tmp_path_factory.mktemp('thirteen')/'copy', ignore=ignored)
    cell, law = blocks(RECIPE, 'python', '   ')
    diff, = blocks(RECIPE, 'diff', '   ')
    before, line, after = [l[1:] for l in diff.splitlines()]
    def one_cell(cells): cells[-1:-1] = [nbformat.v4.new_code_cell(c) for c in (cell, law)]
    def one_line(cells):
        registry, = [c for c in cells if c.source.startswith('#| export\nMETHODS')]
        assert f'{before}\n{after}' in registry.source
        registry.source = registry.source.replace(before, f'{before}\n{line}')
    edit(copy/'nbs/api/methods/01_loss.ipynb', one_cell)
    edit(copy/'nbs/api/methods/06_registry.ipynb', one_line)
    run(BIN/'nbdev_export', cwd=copy)
    return copy

def python(copy, code, *args, **how):
    "What a program says that sees the copy."
    return run(sys.executable, '-c', code, *args, cwd=copy, PYTHONPATH=str(copy), **how)


def test_the_example_is_a_cell():
    "The page shows a function and its test as they stand in a notebook, but for their comments."
    def bare(code): return [re.sub(r'\s+# .*', '', l) for l in code.strip().splitlines()]
    cells = [bare(c.source) for p in (ROOT/'nbs').rglob('*.ipynb') for c in nbformat.read(p, 4).cells]
    for block in blocks(PAGE.split('## Add a method')[0], 'python'): assert bare(block) in cells, block

LAW = '''
import torch
from torch import nn
from fastcore.test import test_close
from sgn_nb.methods.loss import SCE, F
'''
ASKED = '''
from fastcore.test import *
from sgn_nb.spec import Spec
from sgn_nb.results.figures import line_style
from sgn_nb.methods.registry import METHODS, PAPER_METHODS
from sgn_nb.experiments.search import search_space
assert 'sce' in METHODS and 'sce' not in PAPER_METHODS and 'ICCV' in METHODS['sce'].citation
assert len({line_style(m)['color'] for m in METHODS}) == 13
assert search_space('sce', {'lr': [.01, .1]}) == {'lr': (.01, .1), 'a': (.01, 10., 'log')}
with ExceptionExpected(ValueError, r'a must be a number in \\[0, inf\\), got -1'): Spec(method='sce', settings={'a': -1})
'''
TRAIN = 'from sgn_nb.apps.cli import main_train; main_train()'

def test_the_law_holds(thirteen):
    python(thirteen, LAW + blocks(RECIPE, 'python', '   ')[1])

def test_everybody_asks_the_class(thirteen):
    "Figures have a colour for it, a search knows where to look, a bad setting is named."
    python(thirteen, ASKED)

def test_a_command_trains_it(thirteen, tmp_path):
    small = '--n-train 200 --batch 30 --net mlp --epochs 2 --device cpu'.split()
    said = python(thirteen, TRAIN, '--method', 'sce', '--settings', 'b=.5', *small, '--out', tmp_path/'out').stdout
    assert '| sce ' in said
    said = python(thirteen, TRAIN, '--method', 'sec', ok=False).stderr
    assert "did you mean 'sce'" in said and 'nan, sce, ln' in said

def test_those_that_are_concerned_are_found():
    "Among them the ones that once compared the registry with the paper's list."
    for n in ('26', '32', '44', '59', '61'): assert any(f'/{n}_' in p for p in NOTEBOOKS)
    assert {'tests/test_experiments.py', 'tests/test_search.py', 'tests/test_commands.py'} <= set(TESTS)
    assert not any('00_' in p for p in NOTEBOOKS)

CELLS = '''
import sys
from pathlib import Path
from nbdev.config import get_config
from nbdev.test import test_nb
ok, _ = test_nb(Path(sys.argv[1]), skip_flags=get_config().tst_flags.split())
sys.exit(not ok)
'''

@slow
@pytest.mark.parametrize('notebook', NOTEBOOKS)
def test_notebooks_with_thirteen(thirteen, notebook):
    python(thirteen, CELLS, notebook)

@slow
@pytest.mark.parametrize('file', TESTS)
def test_tests_with_thirteen(thirteen, file):
    run(sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', file, cwd=thirteen, PYTHONPATH=str(thirteen))
