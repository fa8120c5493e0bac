"""Every notebook's tests and every file in tests/, each in a process of its own, two at a time.
The last line: `N passed, N failed`."""
import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 1800  # for one of them, before it counts as hung
PYTEST = '-m pytest -v --no-header --tb=short --durations=5 -p no:cacheprovider'.split()
OUTCOMES = {'passed': 'passed', 'failed': 'failed', 'skipped': 'skipped',
            'error': 'failed', 'errors': 'failed'}
# Other people's modules, imported once for all notebooks, whose processes are forked from there.
PRELOAD = ('nbdev.test torch torchvision torchmetrics accelerate sklearn.ensemble pandas '
           'matplotlib.pyplot').split()
METHOD = 'forkserver' if sys.platform == 'linux' else 'spawn'


def is_draft(path):
    "In folders, or with names, that begin with `_` or `.`: copies for the docs, drafts."
    return any(part[0] in '_.' for part in path.relative_to(ROOT).parts)

def notebooks(): return sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if not is_draft(p))

def tests(): return sorted((ROOT/'tests').glob('test_*.py'))

def notebook_process(path, flags, log):
    """By nbdev's own runner: the notebook's folder is the working directory, cells flagged in
    `tst_flags` are left out."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1, 2)
    os.chdir(ROOT)
    from nbdev.config import get_config
    from nbdev.test import test_nb
    ok, _ = test_nb(path, skip_flags=get_config().tst_flags.split(), force_flags=flags)
    sys.exit(not ok)

def run_notebook(path, flags):
    "How many passed and failed, which is one, and what was printed."
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder)/'log'
        context = multiprocessing.get_context(METHOD)
        process = context.Process(target=notebook_process, args=(path, flags, log))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            return Counter(failed=1), f'no end after {SECONDS} s'
        output = log.read_text(encoding='utf-8') if log.exists() else ''
        return Counter({'failed' if process.exitcode else 'passed': 1}), output

def run_tests(path, flags):
    "How many passed, failed and were skipped, from pytest's last line, and what was printed."
    env = os.environ | {'FLAGS': ' '.join(flags)}
    try: p = subprocess.run([sys.executable, *PYTEST, path], cwd=ROOT, env=env, timeout=SECONDS,
                            capture_output=True, text=True)
    except subprocess.TimeoutExpired: return Counter(failed=1), f'no end after {SECONDS} s'
    *_, last = p.stdout.splitlines() or ['']
    count = Counter()
    for n, word in re.findall(r'(\d+) (\w+)', last):
        if word in OUTCOMES: count[OUTCOMES[word]] += int(n)
    if p.returncode not in (0, 5) and not count['failed']: count['failed'] += 1  # pytest broke
    return count, p.stdout + p.stderr

def run(path, flags):
    start = time.time()
    count, output = (run_notebook if path.suffix == '.ipynb' else run_tests)(path, flags)
    return count, output, time.time() - start

def show(path, count, output, seconds):
    "One line, and all that was printed where something failed."
    mark = 'FAILED' if count['failed'] else 'ok    '
    name = path.relative_to(ROOT).with_suffix('').as_posix().removeprefix('nbs/')
    print(f'{mark} {name:40} {seconds:6.1f} s', flush=True)
    if count['failed']: print(output, flush=True)

def run_all(flags):
    "The files of tests come first, since some of them take longest."
    total = Counter()
    os.environ |= {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    paths = tests() + notebooks()
    if len(paths) > 9: multiprocessing.set_forkserver_preload(PRELOAD)
    with ThreadPoolExecutor(2) as pool:
        jobs = {pool.submit(run, path, flags): path for path in paths}
        for job in as_completed(jobs):
            count, output, seconds = job.result()
            show(jobs[job], count, output, seconds)
            total += count
    return total

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--flags', nargs='+', default=[], metavar='FLAG',
                   help='also run the cells with these flags: slow gpu data integrations')
    flags = p.parse_args().flags
    start = time.time()
    count = run_all(flags)
    minutes, seconds = divmod(round(time.time() - start), 60)
    print(f'all of it took {minutes} min {seconds} s')
    skipped = f", {count['skipped']} skipped" if count['skipped'] else ''
    print(f"{count['passed']} passed, {count['failed']} failed{skipped}", flush=True)
    sys.exit(bool(count['failed'] or not count['passed']))

if __name__ == '__main__': main()
