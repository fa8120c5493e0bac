"""The lessons: each has its parts, its solutions run, and the slides' fourteen statements can be
found."""
import ast
import json
import re
from pathlib import Path
import pytest

NBS = Path(__file__).resolve().parent.parent/'nbs'
LESSONS = {'00_compositional': (), '01_targets': (1, 3, 4), '02_gaussian': (2, 5),
           '03_shifted_gaussian': (2, 6, 7), '04_ema': (), '05_sgn': (2,)}
PARTS = '**The question.**', '**The idea.**', '## What can go wrong', '## Exercises'
STATEMENTS = {  # name -> lesson, what it must say
    'simplex':       ('00_compositional',    r'\Delta^{D-1} = \Big\{ p = (p_1, p_2, \dots, p_D)'),
    'space':         ('00_compositional',    r'\mathbb{R}^D = \{ x = (x_1, x_2, \dots, x_D)'),
    'alr':           ('00_compositional',    r'alr(p) = \log'),
    'clr':           ('00_compositional',    r'clr(p) = \log\frac{(p_1, \dots, p_K)}{g(p)}'),
    'ilr':           ('00_compositional',    r'ilr(p) = V^\top clr(p)'),
    'smoothing':     ('01_targets',          r'LS(y)=(1-\gamma)\,\delta_y+\gamma\,u. \tag{4}'),
    'data sets':     ('01_targets',          r'\mathcal D^{reg}=\{(x_i,\,ilr(LS(y_i)))\} \tag{1}'),
    'noise model':   ('02_gaussian',         r'\mathcal N(\Delta(x),\,\Sigma(x)). \tag{2}'),
    'prediction':    ('01_targets',          r'\hat y=\arg\max_k\hat\pi_k. \tag{3}'),
    'likelihood':    ('02_gaussian',         r'\frac{K-1}{2}\log\sigma^2+\frac{K-1}{2}\log 2\pi, \tag{5}'),
    'shift':         ('03_shifted_gaussian', r'\log\mathcal N(t-\Delta;\mu,\sigma^2).'),
    'schedule':      ('03_shifted_gaussian', r't=\mu+(1-\alpha^e)\,\Delta'),
    'limit':         ('03_shifted_gaussian', r'\log\mathcal N(\mu_{\bar\theta};\mu,\Sigma). \tag{7}'),
    'outputs':       ('05_sgn',              r'\underbrace{\hat\sigma^2}_{\text{estimated noise variance}}'),
}
EXERCISE = re.compile(r'\*\*(\d)\..*?<details><summary>Solution</summary>\n\n(.*?)</details>', re.S)

FOLDER = NBS/'lessons'
NOTEBOOKS = {p.relative_to(NBS).with_suffix('').as_posix(): p
             for p in sorted(NBS.rglob('[!_.]*.ipynb'))}

def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']
def lesson(name): return cells(FOLDER/f'{name}.ipynb')
def text(cell): return ''.join(cell['source'])
def is_imports(code):
    "A cell of imports and nothing else; nbdev's own is plumbing."
    body = ast.parse(code).body
    has_imports_only = all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in body)
    return bool(body) and has_imports_only and 'nbdev' not in code

def prose(name): return '\n\n'.join(text(c) for c in lesson(name) if c['cell_type']=='markdown')

@pytest.mark.parametrize('name', LESSONS)
def test_parts(name):
    """A lesson asks, answers, warns and sets three exercises; its equations have the slides'
    numbers."""
    md = prose(name)
    for part in PARTS: assert part in md, part
    for k in LESSONS[name]: assert rf'\tag{{{k}}}' in md, k
    numbers = [int(n) for n,_ in EXERCISE.findall(md)]
    assert numbers[:3] == [1, 2, 3] and numbers == sorted(set(numbers))

@pytest.mark.parametrize('name', NOTEBOOKS)
def test_figures_have_alt_text(name):
    """Whoever cannot see a picture is told what it shows. The text is YAML, so a colon and a blank
    would end it, unless it is quoted."""
    for c in cells(NOTEBOOKS[name]):
        if not any('image/png' in o.get('data', {}) for o in c.get('outputs', ())): continue
        alt = re.search(r'^#\| fig-alt: (.+)$', text(c), re.M)
        assert alt and len(alt[1])>30, f"cell {c['id']} draws something and has no alt text"
        assert ': ' not in alt[1] or alt[1][0] == alt[1][-1] == '"', f"cell {c['id']}"

@pytest.mark.parametrize('name', LESSONS)
def test_lesson_has_a_figure(name):
    "No lesson without a picture."
    assert any('image/png' in o.get('data', {}) for c in lesson(name) for o in c.get('outputs', ()))

@pytest.mark.parametrize('name', LESSONS)
def test_solutions_run(name, monkeypatch, capsys):
    "The code in a solution runs with the lesson's imports and nothing else."
    monkeypatch.chdir(FOLDER)
    scope = {}
    for c in lesson(name):
        if c['cell_type']=='code' and is_imports(text(c)): exec(text(c), scope)
    exec(f"from sgn_nb.{name[3:]} import *\nfrom sgn_nb.targets import *", scope)
    for n,solution in EXERCISE.findall(prose(name)):
        code = re.findall(r'```python\n(.*?)```', solution, re.S)
        for block in code: exec(block, dict(scope))
        assert code, f'the solution of exercise {n} has no code'

@pytest.mark.parametrize('statement', STATEMENTS)
def test_statements(statement):
    "The slides' statements, each in the lesson that explains it."
    name,words = STATEMENTS[statement]
    assert words in prose(name)
    listing = prose('05_sgn').split('## The slides, statement by statement')[1]
    assert name=='05_sgn' or f'({name}.ipynb)' in listing
