"The tools count and render honestly: tried on a toy project with good, bad and flagged parts."
import base64
import json
import shutil
import subprocess
import sys
import pytest
import yaml
from conftest import ROOT, posix, run

PNG = base64.b64encode(b'\x89PNG toy').decode()

def code(src, *outputs):
    return dict(cell_type='code', id='c', metadata={}, execution_count=None, source=src,
                outputs=list(outputs))
def md(src): return dict(cell_type='markdown', id='m', metadata={}, source=src)
def shown(**data): return dict(output_type='display_data', metadata={}, data=data)

@pytest.fixture
def toy(tmp_path):
    "Settings, tools and, through `toy(name, cells...)`, notebooks."
    for o in 'tools', 'nbs', 'tests': (tmp_path/o).mkdir()
    for name in 'settings.ini', 'tools/test_all.py', 'tools/make_readme.py':
        shutil.copy(ROOT/name, tmp_path/name)
    def add(name, *cells):
        path = tmp_path/'nbs'/name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    add.root = tmp_path
    return add

def count_all(toy, *flags):
    p = run(sys.executable, 'tools/test_all.py', *flags, cwd=toy.root, ok=False)
    return p.returncode, p.stdout.splitlines()[-1], p.stdout

def test_counts_notebooks_and_tests(toy):
    """Notebooks and pytest tests are added up, a failure is shown with its cell and ends with exit
    code 1."""
    in_folder = 'import os\nassert os.getcwd().endswith("nbs") and os.environ["IN_TEST"]'
    toy('00_good.ipynb', code(in_folder))
    toy('01_bad.ipynb', code('assert 1 == 2, "one is not two"'))
    (toy.root/'tests/test_toy.py').write_text('import pytest\ndef test_a(): pass\n'
        'def test_b(): pytest.skip("why")\ndef test_c(): assert 0\n')
    rc, last, output = count_all(toy)
    assert (rc, last) == (1, '2 passed, 2 failed, 1 skipped')
    for part in 'ok     nbs/00_good', 'FAILED nbs/01_bad', 'one is not two': assert part in output

def test_flags_and_drafts(toy):
    "Flagged cells run only when asked for; drafts, checkpoints and processed copies never do."
    toy('00_slow.ipynb', code('#| slow\nassert 0'))
    for o in '_draft.ipynb', '.ipynb_checkpoints/x.ipynb', '_proc/x.ipynb': toy(o, code('assert 0'))
    assert count_all(toy)[:2] == (0, '1 passed, 0 failed')
    assert count_all(toy, '--flags', 'slow')[:2] == (1, '0 passed, 1 failed')

def test_nothing_to_test_is_a_failure(toy):
    "A wrong folder must not look like success."
    assert count_all(toy)[:2] == (1, '0 passed, 0 failed')

def test_readme_from_a_notebook(toy):
    """Words, code and outputs in; hidden cells, directives and progress bars out; pictures as
    files; the same twice."""
    bar = dict(output_type='stream', name='stderr', text='50%|###')
    two = dict(output_type='execute_result', metadata={}, execution_count=None,
               data={'text/plain': '2'})
    toy('index.ipynb', code('#| default_exp x'), md('# toy\n> One line.'),
        code('#| hide\nsecret()'),
        md('See [the geometry](00_compositional.ipynb), [the paper](https://example.org).'),
        code('#| fig-cap: A line\nplot()', bar, shown(**{'image/png': PNG})), code('1+1', two))
    (toy.root/'nbs/images').mkdir()
    (toy.root/'nbs/images/readme-7.png').touch()  # of an earlier README
    def make():
        run(sys.executable, 'tools/make_readme.py', cwd=toy.root)
        return (toy.root/'README.md').read_text()
    readme = make()
    assert make() == readme
    for part in ('# toy', '> One line.', '(nbs/00_compositional.ipynb)', '(https://example.org)',
                 '![A line](nbs/images/readme-1.png)', '```python\n1+1\n```\n\n```\n2\n```'):
        assert part in readme, part
    for o in 'default_exp', 'secret', '50%', '#|': assert o not in readme, o
    assert [p.name for p in (toy.root/'nbs/images').iterdir()] == ['readme-1.png']

def test_sidebar_from_folders(toy):
    """Readers in their order, packages in theirs, numbers within; what has no title comes last; no
    drafts, no empty section."""
    shutil.copy(ROOT/'tools/make_sidebar.py', toy.root/'tools')
    for name in ('zoo/00_z', 'api/data/01_b', 'api/data/00_a', 'api/base/00_e', 'api/00_nets',
                 'lessons/00_l', '00_loose', 'index', 'lessons/_draft', '_proc/x'):
        toy(f'{name}.ipynb', md('# x'))
    (toy.root/'nbs/images').mkdir()
    run(sys.executable, 'tools/make_sidebar.py', cwd=toy.root)
    sidebar = (toy.root/'nbs/sidebar.yml').read_text()
    lines = [line.strip().removeprefix('- ') for line in sidebar.splitlines()]
    assert [line for line in lines if 'section' in line or 'ipynb' in line] == [
        'index.ipynb', '00_loose.ipynb', 'section: Lessons', 'lessons/00_l.ipynb',
        'section: Reference', 'api/00_nets.ipynb', 'section: Base', 'api/base/00_e.ipynb',
        'section: Data', 'api/data/00_a.ipynb', 'api/data/01_b.ipynb', 'section: Zoo',
        'zoo/00_z.ipynb']
    assert yaml.safe_load(sidebar)['website']['sidebar']['contents'][0] == 'index.ipynb'

class Colab:
    "What a notebook's first cell asks of Colab, with a fake `git` and `pip`; `.log` has it all."
    def __init__(self, pip='true'):
        self.log = []
        self.tools = f'git() {{ for last; do :; done; mkdir "$last"; }}; pip() {{ {pip}; }}; '
    def __str__(self): return '<google.colab._shell.Shell object>'
    def system(self, command):
        self.log.append('installs')
        subprocess.run(['sh', '-c', self.tools + command])
    def run_line_magic(self, *words): self.log.append(' '.join(words))

@posix
def test_colab_after_a_restart(tmp_path):
    """The first cell fetches once, changes the folder always, says when it failed and tries again,
    and does nothing elsewhere."""
    sys.path.insert(0, str(ROOT/'tools'))
    from make_colab import cells
    cfg = dict(git_url='https://example.org/me/toy', repo='toy', branch='main')
    source = ''.join(cells('lessons/00_a.ipynb', cfg)[1]['source'])
    source = source.replace('/content', str(tmp_path))
    def run_cell(shell):
        exec(source, {'get_ipython': lambda: shell})
        return shell.log
    goes = f'cd {tmp_path}/toy/nbs/lessons'
    with pytest.raises(RuntimeError, match='run this cell once more'): run_cell(Colab(pip='false'))
    assert not (tmp_path/'toy').exists()
    assert run_cell(Colab()) == ['installs', goes]
    assert run_cell(Colab()) == [goes]
    class Lab(Colab):
        def __str__(self): return '<ipykernel.zmqshell.ZMQInteractiveShell object>'
    assert run_cell(Lab()) == []

def picture(pixels):
    import io
    from PIL import Image
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'png')
    return base64.b64encode(file.getvalue()).decode()

def test_pictures_shrink(tmp_path):
    "A diagram gets smaller and looks the same; a photograph, and what is small already, stays."
    import numpy as np
    sys.path.insert(0, str(ROOT/'tools'))
    from shrink_pictures import shrink_notebook
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    diagram = np.full((64, 64, 4), 255, np.uint8)
    diagram[:32, :, :3] = noise[:32]//4 + 96  # a soft line on white paper
    diagram[:32, :, 1:3] = diagram[:32, :, :1]
    path = tmp_path/'x.ipynb'
    def pictures():
        cells = json.loads(path.read_text())['cells']
        return [o['data']['image/png'] for o in cells[0]['outputs']]
    shown_pictures = [shown(**{'image/png': picture(p)}) for p in (diagram, noise)]
    path.write_text(json.dumps({'cells': [code('plot()', *shown_pictures), md('words')]}))
    before = pictures()
    shrink_notebook(path)
    after = pictures()
    assert len(after[0]) < .6*len(before[0]) and after[1] == before[1]
    shrink_notebook(path)
    assert pictures() == after
