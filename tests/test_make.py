"""The two commands: they set up once, tell what is missing, and work from anywhere. A fake Python
stands in: no network."""
import os
import shutil
import time
import pytest
from conftest import BIN, ROOT, posix, run

pytestmark = posix

FAKE = '''#!/bin/sh
echo "$*" >> "$FAKE_LOG"
case "$1 $2" in
  "--version ") echo "Python $FAKE_VERSION" ;;
  "-c import sys; sys.exit("*) [ "$FAKE_VERSION" != 3.9.2 ] ;;
  "-m venv") mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python" ;;
  "-m pip"|"tools/gpu_check.py ") [ -z "$FAKE_BROKEN" ] ;;
esac
'''

class Project:
    "A Makefile with what it reads, and the fake Python's log of what it was asked to do."
    def __init__(self, root):
        self.root = root
        self.log = root.parent/'log'
        self.python = root.parent/'python'
        root.mkdir()
        for o in 'Makefile', 'settings.ini', 'setup.py', 'pyproject.toml': shutil.copy(ROOT/o, root)
        self.python.write_text(FAKE)
        self.python.chmod(0o755)
    def make(self, *args, version='3.12.1', broken='', cwd=None, ok=True):
        self.log.write_text('')
        return run('make', *args, f'PYTHON={self.python}', cwd=cwd or self.root, ok=ok,
                   FAKE_LOG=str(self.log), FAKE_VERSION=version, FAKE_BROKEN=broken)
    def installed(self):
        "What pip was asked to install editable, in order."
        lines = self.log.read_text().splitlines()
        return [line.split()[-1] for line in lines if ' -e ' in line]

@pytest.fixture
def project(tmp_path): return Project(tmp_path/'project')


def test_second_demo_installs_nothing(project):
    """The first run makes .venv, installs what the demo needs and says so; the second runs the demo
    at once."""
    assert 'one time' in project.make('demo').stdout
    assert project.installed() == ['.'] and '-m venv .venv' in project.log.read_text()
    assert project.make('demo').stdout == ''
    assert project.log.read_text().strip() == '.venv/bin/sgn_demo'
    assert run('make', '-q', '.venv/.run', cwd=project.root).returncode == 0

def test_the_tests_installation_serves_the_demo(project):
    "`make test` installs the dev extra, with which the demo needs nothing more."
    project.make('test', 'FLAGS=slow gpu')
    assert project.installed() == ['.[dev]']
    assert 'tools/test_all.py --flags slow gpu' in project.log.read_text()
    project.make('demo')
    assert project.installed() == []

def test_a_flag_may_need_an_extra(project):
    "`FLAGS=integrations` installs other people's frameworks, once, and beside the pins of dev."
    project.make('test', 'FLAGS=slow integrations')
    assert project.installed() == ['.[dev]', '.[dev,integrations]']
    assert 'tools/test_all.py --flags slow integrations' in project.log.read_text()
    project.make('test', 'FLAGS=integrations')
    assert project.installed() == []

def test_a_gpu_is_measured_even_where_a_check_fails(project):
    "`make gpu` checks, then measures, and fails if either did."
    project.make('demo')
    failed = project.make('gpu', broken='1', ok=False)
    assert failed.returncode
    assert project.log.read_text().split() == ['tools/gpu_check.py', 'tools/gpu_speed.py']
    project.make('gpu', 'ARGS=--device cpu')
    assert 'tools/gpu_speed.py --device cpu' in project.log.read_text()

@pytest.mark.parametrize('name', ['settings.ini', 'setup.py', 'pyproject.toml'])
def test_changed_settings_install_again(project, name):
    "New requirements reach an old .venv."
    project.make('demo')
    os.utime(project.root/name, (time.time() + 60,)*2)
    project.make('demo')
    assert project.installed() == ['.']

def test_moved_folder_installs_again(project):
    "A .venv that came along with a moved or copied folder would import the old place's code."
    project.make('demo')
    project.root = project.root.rename(project.root.parent/'elsewhere')
    project.make('demo')
    assert project.installed() == ['.']

def test_broken_installation_is_tried_again(project):
    "A cut connection leaves no stamp."
    assert project.make('demo', broken='yes', ok=False).returncode != 0
    project.make('demo')
    assert project.installed() == ['.']

def test_old_python_is_refused(project):
    "With a Python before 3.10 nothing is made, and the message says what to type."
    p = project.make('demo', version='3.9.2', ok=False)
    assert p.returncode != 0
    assert 'needs Python 3.10 or newer' in p.stderr and 'Python 3.9.2' in p.stderr
    assert 'make demo PYTHON=' in p.stderr and not (project.root/'.venv').exists()

def test_missing_python_is_named(project):
    "A Python that is not there is a sentence, not a trace."
    p = run('make', 'demo', 'PYTHON=no-such-python', cwd=project.root, ok=False)
    assert p.returncode != 0 and 'no-such-python not found' in p.stderr

def test_from_anywhere(project, tmp_path):
    "`make -C` works: all paths are the project's."
    project.make('-C', project.root, 'demo', cwd=tmp_path)
    assert (project.root/'.venv/.run').read_text().strip() == str(project.root)

def test_help_names_the_commands(project):
    "`make` alone tells what there is."
    text = run('make', cwd=project.root).stdout
    assert all(f'make {o}' in text for o in ('demo', 'test', 'lab', 'readme', 'clean'))

def test_demo_smoke(tmp_path):
    "What `make demo` runs, for one epoch: a table, a record of each training and the figure."
    text = run(BIN/'sgn_demo', '--epochs', '1', cwd=tmp_path).stdout
    assert 'sgn' in text.lower() and (tmp_path/'runs/demo.png').stat().st_size > 1000
    assert len(list((tmp_path/'runs').rglob('*.json'))) >= 2
