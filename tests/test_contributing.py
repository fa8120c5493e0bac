"""The page that tells how to contribute is tried: what it names is there, its examples are cells of
ours, and its further method works everywhere."""
import ast
import re
import sys
from configparser import ConfigParser
from functools import cache
from shutil import copytree
import nbformat
import pytest
from conftest import BIN, ROOT, files, ignored, run, slow

PAGE = (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')
RULES, RECIPE = PAGE.split('## Add a method')
TREE = PAGE.split('```\nsgn_nb/\n')[1].split('\n```')[0]

def blocks(text, kind, indent=''):
    "The blocks of code on a page."
    fenced = re.findall(rf'^{indent}```{kind}\n(.*?)^{indent}```', text, re.S | re.M)
    return [re.sub(f'^{indent}', '', b, flags=re.M) for b in fenced]

EXAMPLES = blocks(RULES, 'python')
METHOD, LAW = blocks(RECIPE, 'python', '   ')
DIFF, = blocks(RECIPE, 'diff', '   ')

def code_cells(path):
    "The sources of a notebook's cells of code."
    return [c.source for c in nbformat.read(path, 4).cells if c.cell_type == 'code']


# What the page says is there

def test_every_block_of_code_is_tried():
    """There are two examples, a method, its law and its line, commands and a tree: each has a test
    in this file."""
    kinds = re.findall(r'^ *```(\w*)$', PAGE, re.M)
    tried = [*['python']*len([*EXAMPLES, METHOD, LAW]), 'diff', *['sh']*len(blocks(PAGE, 'sh')), '']
    assert sorted(k for k in kinds if k) == sorted(k for k in tried if k)
    assert kinds.count('') == len(tried) + 1  # each is closed, and the tree is of no kind

def test_the_examples_are_cells():
    "The page shows a function and its test as they stand in a notebook, but for their comments."
    def bare(code): return [re.sub(r'\s+# .*', '', line) for line in code.strip().splitlines()]
    cells = [bare(c) for p in files(ROOT/'nbs', '*.ipynb') for c in code_cells(p)]
    for block in EXAMPLES: assert bare(block) in cells, block

def test_code_on_the_page_keeps_its_own_rules():
    "It is read as an example of how lines look."
    for block in (*EXAMPLES, METHOD, LAW):
        ast.parse(block)
        assert max(map(len, block.splitlines())) <= 100, block

def test_commands_exist():
    "Whatever a reader is told to type is a goal of the Makefile or a command of nbdev."
    goals = re.findall(r'^([a-z-]+):', (ROOT/'Makefile').read_text(), re.M)
    typed = [line.split('#')[0].split() for b in blocks(PAGE, 'sh') for line in b.splitlines()]
    assert all(words[0] == 'make' for words in typed if words)
    named = {words[1] for words in typed if words} | set(re.findall(r'`make ([a-z-]+)', PAGE))
    assert len(named) >= 5 and named <= set(goals)
    commands = set(re.findall(r'`(nbdev_\w+)', PAGE))
    assert len(commands) >= 5 and all((BIN/c).exists() for c in commands)

def test_files_exist():
    "Links lead somewhere; folders of the tree, and files that are named, are there."
    links = {p for p in re.findall(r'\]\(([^)#]+)\)', PAGE) if '://' not in p}
    named = set(re.findall(r'`((?:nbs|tests|tools|sgn_nb)/[\w./]*|\w+\.(?:md|ini|ipynb))`', PAGE))
    folders, folder = set(), 'sgn_nb/'
    for line in TREE.splitlines():
        if m := re.match(r'(\w+/)', line): folder = m[1]
        if m := re.match(r'  ([\w.]+/|\w+\.\w+)', line): folders.add(folder + m[1])
        if line[0] != ' ': folders |= set(re.findall(r'\b(\w+/)', line))
    named -= {'index.ipynb'}  # the front page, in nbs/
    for p in links | named | folders: assert (ROOT/p).exists(), p

def test_flags_are_those_of_the_settings():
    """A flag that the page does not explain is unknown to a contributor, and one too many does
    nothing."""
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini')
    flags = set(config['DEFAULT']['tst_flags'].split()) - {'notest'}  # nbdev's own
    assert set(re.findall(r'^\| `#\\\| (\w+)` \|', PAGE, re.M)) == flags

def test_notebooks_and_modules_belong_together():
    "A lesson or a page of the reference makes one module, but for two of the lessons."
    sources = [p for d in ('lessons', 'api') for p in files(ROOT/'nbs'/d, '*.ipynb')]
    without = {p.stem[3:] for p in sources if '#| default_exp ' not in code_cells(p)[0]}
    assert without == {'playground', 'bug_museum'}

def module(path):
    "The name of a module below the package: `methods.base`."
    return '.'.join(path.relative_to(ROOT/'sgn_nb').with_suffix('').parts)

MODULES = {module(p): p for p in files(ROOT/'sgn_nb', '*.py') if p.name[0] != '_'}

def listed():
    "The modules in the order of the tree."
    for line in TREE.split('\nnbs/\n')[0].splitlines():
        folder, names = re.match(r'  (?:(\w+)/ +)?(\w+(?: \w+)*)', line).groups()
        yield from (f'{folder}.{name}' if folder else name for name in names.split())

def test_imports_follow_the_tree():
    """While it is loaded, a module needs only those that stand before it: no circle, and a newcomer
    knows where to begin."""
    order = list(listed())
    for name in order:
        tree = ast.parse(source(MODULES[name]))
        top = '\n'.join(ast.unparse(n) for n in tree.body if isinstance(n, ast.ImportFrom))
        behind = [m for m in imports(top, name) if order.index(m) >= order.index(name)]
        assert not behind, f'{name} imports {behind}'


# Who knows methods

@cache
def source(path):
    "The code of a file or a notebook."
    return '\n'.join(code_cells(path)) if path.suffix == '.ipynb' else path.read_text('utf-8')

FACE = dict(re.findall(r"'(\w+)': '\.([\w.]+)'", source(ROOT/'sgn_nb/__init__.py')))

def imports(code, name=''):
    """The modules of ours that this code imports, relatively to the module `name` or absolutely,
    also in a program that it holds as a string."""
    for dots, home, names in re.findall(r'\bfrom (\.*)([\w.]*) import \(?([\w, \n]+)', code):
        if not dots and not re.match(r'sgn_nb\b', home): continue
        parents = name.split('.')[:-len(dots)] if dots else []
        home = '.'.join([*parents, *re.sub(r'^sgn_nb\b\.?', '', home).split('.')]).strip('.')
        words = [w.split()[0] for w in names.split(',') if w.split()]
        within = [f'{home}.{w}'.strip('.') for w in words]
        front = [FACE[w] for w in words if w in FACE and not home]
        yield from (m for m in (home, *within, *front) if m in MODULES)
    yield from (m for m in re.findall(r'\bimport sgn_nb\.([\w.]+)', code) if m in MODULES)

def knowing():
    "Modules that know methods, directly or through one that does, the methods' own among them."
    needs = {name: set(imports(source(p), name)) for name, p in MODULES.items()}
    names = {name for name in MODULES if name.startswith('methods.')}
    while True:
        further = {name for name, needed in needs.items() if needed & names} - names
        if not further: return names
        names |= further

def are_concerned(folder, pattern):
    "Notebooks or tests that import a module that knows methods, or start a command."
    names = knowing()
    def concerns(p): return "BIN/'sgn_" in source(p) or names & set(imports(source(p)))
    paths = files(ROOT/folder, pattern)
    return sorted(p.relative_to(ROOT).as_posix() for p in paths if concerns(p))

NOTEBOOKS = are_concerned('nbs', '*.ipynb')
TESTS = [t for t in are_concerned('tests', 'test_*.py') if 'contributing' not in t]

def test_those_that_are_concerned_are_found():
    "Among them the ones that once compared the registry with the paper's list."
    for name in ('api/methods/07_registry', 'api/02_bench', 'api/results/03_figures',
                 'api/apps/02_cli', 'results/01_cifar', 'lessons/07_bug_museum'):
        assert f'nbs/{name}.ipynb' in NOTEBOOKS
    for name in ('experiments', 'search', 'commands'): assert f'tests/test_{name}.py' in TESTS
    for name in ('lessons/00_compositional', 'lessons/05_sgn', 'api/01_nets', 'about/00_glossary'):
        assert f'nbs/{name}.ipynb' not in NOTEBOOKS


# The recipe, followed

def edit(path, change):
    "Change a notebook's list of cells in place."
    nb = nbformat.read(path, 4)
    change(nb.cells)
    nbformat.write(nb, path)

@pytest.fixture(scope='module')
def extended(tmp_path_factory):
    """A copy of the project with the page's method: one cell into a notebook, one line into the
    registry, exported."""
    copy = copytree(ROOT, tmp_path_factory.mktemp('extended')/'copy', ignore=ignored)
    above, line, below = [words[1:] for words in DIFF.splitlines()]
    def one_cell(cells): cells[-1:-1] = [nbformat.v4.new_code_cell(c) for c in (METHOD, LAW)]
    def one_line(cells):
        registry, = [c for c in cells if c.source.startswith('#| exports\nMETHODS')]
        assert f'{above}\n{below}' in registry.source
        registry.source = registry.source.replace(above, f'{above}\n{line}')
    edit(copy/'nbs/api/methods/01_loss.ipynb', one_cell)
    edit(copy/'nbs/api/methods/07_registry.ipynb', one_line)
    run(BIN/'nbdev_export', cwd=copy)
    return copy

def python(copy, code, *args, **options):
    "A program that sees the copy, once it has ended."
    return run(sys.executable, '-c', code, *args, cwd=copy, PYTHONPATH=str(copy), **options)

IMPORTS = '''
import torch
from torch import nn
from fastcore.test import test_close
from sgn_nb.methods.loss import SCE, F
'''
QUESTIONS = '''
from fastcore.test import *
from sgn_nb.spec import Spec
from sgn_nb.experiments.plans import check_spec
from sgn_nb.results.figures import line_style
from sgn_nb.methods.registry import METHODS, PAPER_METHODS
from sgn_nb.experiments.search import search_space
assert 'sce' in METHODS and 'sce' not in PAPER_METHODS and 'ICCV' in METHODS['sce'].citation
assert len({line_style(m)['color'] for m in METHODS}) == len(METHODS)
assert search_space('sce', {'lr': [.01, .1]}) == {'lr': (.01, .1), 'a': (.01, 10., 'log')}
with ExceptionExpected(ValueError, r'a must be a number in \\[0, inf\\), got -1'):
    check_spec(Spec(method='sce', settings={'a': -1}))
'''
TRAIN = 'from sgn_nb.apps.cli import main_train; main_train()'

def test_the_law_holds(extended):
    "The page's third step, where its first two were made."
    python(extended, IMPORTS + LAW)

def test_everybody_asks_the_class(extended):
    "Figures have a colour for it, a search knows where to look, a bad setting is named."
    python(extended, QUESTIONS)

def test_a_command_trains_it(extended, tmp_path):
    "Nothing but its name is told to the command, which offers it where a name is misspelt."
    small = '--n-train 200 --batch 30 --net mlp --epochs 2 --device cpu'.split()
    chosen = ['--method', 'sce', '--settings', 'b=.5']
    printed = python(extended, TRAIN, *chosen, *small, '--out', tmp_path/'out').stdout
    assert '| sce ' in printed
    complaint = python(extended, TRAIN, '--method', 'sec', ok=False).stderr
    assert "did you mean 'sce'" in complaint and 'nan, sce, ln' in complaint

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
def test_notebooks_with_one_more(extended, notebook):
    "None of them has counted the methods."
    python(extended, CELLS, notebook)

@slow
@pytest.mark.parametrize('file', TESTS)
def test_tests_with_one_more(extended, file):
    "Nor has a test."
    run(sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', file, cwd=extended,
        PYTHONPATH=str(extended))
