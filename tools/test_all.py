"Every notebook's tests, each in a process of its own, then those in tests/. The last line: `N passed, N failed`."
import argparse, os, subprocess, sys, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 1800  # for one notebook, before it counts as hung
# nbdev's own runner: the notebook's folder is the working directory, cells flagged in `tst_flags` are left out.
RUN = '''import sys; from pathlib import Path; from nbdev.config import get_config; from nbdev.test import test_nb
ok, _ = test_nb(Path(sys.argv[1]), skip_flags=get_config().tst_flags.split(), force_flags=sys.argv[2:]); sys.exit(not ok)'''


def notebooks():
    "All but those in folders, or with names, that begin with `_` or `.`: copies made for the docs, checkpoints, drafts."
    nbs = (p.relative_to(ROOT) for p in (ROOT/'nbs').rglob('*.ipynb'))
    return sorted(ROOT/p for p in nbs if not any(part[0] in '_.' for part in p.parts))

def run_notebook(nb, flags):
    "Outcome, seconds and, where it failed, what it said. Two run side by side, each with one thread."
    env, start = {**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}, time.time()
    try: p = subprocess.run([sys.executable, '-c', RUN, nb, *flags], cwd=ROOT, env=env, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired: return 'failed', SECONDS, f'no end after {SECONDS} s\n'
    return 'failed' if p.returncode else 'passed', time.time() - start, (p.stdout + p.stderr) if p.returncode else ''

def run_notebooks(flags, count):
    with ThreadPoolExecutor(2) as pool:
        jobs = {pool.submit(run_notebook, nb, flags): nb for nb in notebooks()}
        for job in as_completed(jobs):
            outcome, seconds, said = job.result()
            count[outcome] += 1
            print(f"{'ok    ' if outcome == 'passed' else 'FAILED'} {jobs[job].relative_to(ROOT/'nbs').with_suffix('').as_posix():34} {seconds:6.1f} s\n{said}", end='', flush=True)

class Counting:
    "A pytest plugin: a test has failed if any of its phases has, a file if it cannot be collected."
    def __init__(self, count): self.count = count
    def pytest_collectreport(self, report): self.count['failed'] += report.failed
    def pytest_runtest_logreport(self, report):
        if report.when == 'call' or not report.passed: self.count[report.outcome] += 1

def run_pytest(flags, count):
    import pytest
    os.environ['FLAGS'] = ' '.join(flags)
    code = pytest.main(['-v', '--no-header', '--tb=short', '-p', 'no:cacheprovider', str(ROOT/'tests')], plugins=[Counting(count)])
    if code not in (0, 1, 5): count['failed'] += 1  # pytest itself broke: its exit codes 2-4

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--flags', nargs='+', default=[], metavar='FLAG', help='also run the cells with these flags: slow gpu data integrations')
    flags, count = p.parse_args().flags, Counter()
    run_notebooks(flags, count)
    run_pytest(flags, count)
    skipped = f", {count['skipped']} skipped" if count['skipped'] else ''
    print(f"{count['passed']} passed, {count['failed']} failed{skipped}", flush=True)
    sys.exit(bool(count['failed'] or not count['passed']))

if __name__ == '__main__': main()
