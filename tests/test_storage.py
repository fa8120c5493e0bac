"A search in PostgreSQL: a server of Debian's, for this test alone, on the loopback."
import os
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path
import pytest
from conftest import BIN, FLAGS, posix
from sgn_nb.experiments.search import open_storage, open_study

FOLDERS = os.pathsep.join([os.environ['PATH'], *sorted(glob('/usr/lib/postgresql/*/bin'))])
INITDB, PG_CTL = [shutil.which(name, path=FOLDERS) for name in ('initdb', 'pg_ctl')]
integrations = pytest.mark.skipif('integrations' not in FLAGS,
                                  reason='needs a server: make test FLAGS=integrations')
there = pytest.mark.skipif(not INITDB, reason='needs PostgreSQL: apt-get install postgresql')
pytestmark = [posix, integrations, there]

SEARCH = '''
method = ["ce", "gce"]
n_train = 200
batch = 30
net = "mlp"
epochs = 2
[search]
trials = 3
lr = [0.01, 0.2, "log"]
'''

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

class Server:
    "PostgreSQL, which refuses to be root's, as pytest's folder is."
    def __init__(self):
        self.folder, self.port = Path(tempfile.mkdtemp()), free_port()
        self.user = {'user': 'postgres'} if os.getuid() == 0 else {}
        if self.user: shutil.chown(self.folder, 'postgres')
        self.call(INITDB, '-U', 'ada', '-A', 'trust', '--no-sync')

    def call(self, program, *options):
        command = [program, '-D', self.folder/'data', *options]
        subprocess.run(list(map(str, command)), check=True, cwd=self.folder,
                       stdout=subprocess.DEVNULL, **self.user)

    def start(self):
        options = f'-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off'
        self.call(PG_CTL, '-l', self.folder/'log', '-w', '-o', options, 'start')

    def stop(self): self.call(PG_CTL, '-m', 'immediate', 'stop')

@pytest.fixture
def server():
    pytest.importorskip('psycopg', reason='needs a driver: pip install "psycopg[binary]"')
    server = Server()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)

@pytest.fixture
def database(server):
    "The URL of an empty database."
    return f'postgresql+psycopg://ada@127.0.0.1:{server.port}/postgres'

def search(tmp_path, storage, out, epochs=2):
    (tmp_path/'small.toml').write_text(SEARCH.replace('epochs = 2', f'epochs = {epochs}'))
    command = [BIN/'sgn_search', 'small.toml', '--storage', storage, '--out', out,
               '--device', 'cpu']
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

def found(path):
    "The settings of a file, without the machine that they were found on."
    return [line for line in Path(path).read_text().splitlines() if not line.startswith('#')]

def test_a_search_in_a_database(database, tmp_path):
    "It finds what a search in a journal finds; a second call finds everything done."
    for storage, out in ((database, 'one'), (database, 'one'), ('trials.journal', 'two')):
        p = search(tmp_path, storage, out)
        assert p.returncode == 0, p.stdout + p.stderr
    assert found(tmp_path/'one/settings.toml') == found(tmp_path/'two/settings.toml')
    assert len(open_study('small', 'gce', open_storage(database)).trials) == 3

def test_a_database_that_refuses(database, tmp_path):
    "One line, without the password, before anything is trained."
    port = database.split(':')[-1].split('/')[0]
    p = search(tmp_path, f'postgresql+psycopg://ada:secret@127.0.0.1:{port}/nosuch', 'out')
    assert p.returncode == 2, p.stdout + p.stderr
    assert f'storage 127.0.0.1:{port}/nosuch cannot be opened' in p.stderr
    assert len(p.stderr.splitlines()) == 1 and 'secret' not in p.stderr
    assert not list((tmp_path/'out').glob('*.json'))

def test_a_database_that_is_lost(server, database, tmp_path):
    "One line; when it is there again, the same command goes on, and no run is trained twice."
    out = tmp_path/'out'
    with ThreadPoolExecutor(1) as thread:
        searching = thread.submit(search, tmp_path, database, out, 200)
        while not list(out.glob('*.json')) and not searching.done(): time.sleep(.01)
        server.stop()
        p = searching.result()
    assert p.returncode == 2, p.stdout + p.stderr
    assert p.stderr.splitlines()[-1].startswith(
        f'sgn_search: storage 127.0.0.1:{server.port}/postgres fails ('), p.stderr
    assert 'Traceback' not in p.stderr
    times = {f: f.stat().st_mtime_ns for f in out.glob('*.json')}
    server.start()
    p = search(tmp_path, database, out, 200)
    assert p.returncode == 0, p.stdout + p.stderr
    assert all(f.stat().st_mtime_ns == t for f, t in times.items())
    assert len(list(out.glob('*.json'))) == 6
