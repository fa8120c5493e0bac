"""Are records what they say they are? `verify_records.py [FILE or FOLDER ...]` looks at every
`records/*.jsonl`, and at what is named: schema, ids, provenance, curves, ranges, duplicates. A
sentence for each thing that is wrong, then `N passed, N failed`; exit status 1 if any failed."""
import math
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from sgn_nb.experiments.plans import check_spec, spec_id
from sgn_nb.experiments.records import ROWS, parse_record, read_json, read_lines

ROOT = Path(__file__).resolve().parent.parent

# Commits that a rebase took away after the runs, and one with changes that nobody committed. The
# lists end when these runs are made again.
LOST = {'cifar_cpu': {'670613a259', '1b92116bd2'}, 'cifar_cpu_search': {'a2fc30661e'},
        'cifar_long': {'42c464dc19'}, 'labels': {'172f9eb66d+changes'}}
ENVIRONMENT = 'sgn_nb', 'commit', 'python', 'torch', 'device', 'cores', 'seconds'
SHARES = r'(val|test)_(acc|top5|ece)/|memorised/|corrected/'
POSITIVE = r'(val|test)_nll/|weight/|scale/'


# What one record says of itself

def schema_faults(raw, source):
    "Is it a record of this version, with a spec that can be run?"
    try: check_spec(parse_record(raw, source).spec)
    except ValueError as e: yield str(e)

def id_faults(raw, record):
    "Is it named by its spec?"
    expected = spec_id(record.spec)
    if raw['id'] != expected: yield f'its spec has the id {expected}'

def curve_faults(raw, record):
    "Has the curve its epochs, the first and the last among them?"
    curve = raw['curve']
    rows = len(record.curve)
    epochs, last = curve.get('epoch', []), record.spec.epochs - 1
    if epochs != sorted(set(epochs)): yield 'the epochs of the curve do not rise'
    if not epochs or epochs[0] != 0 or epochs[-1] != last:
        yield f'the curve must begin with epoch 0 and end with epoch {last}'
    short = min(ROWS, record.spec.epochs)
    if rows < short: yield f'the curve has {rows} rows, at least {short} are expected'

def range_faults(raw, record):
    "Are shares in 0..1, lengths not negative?"
    for row in record.curve:
        for key, v in row.items():
            if not isinstance(v, (int, float)): continue
            low = 0 if re.match(f'{SHARES}|{POSITIVE}|epoch', key) else -math.inf
            high = 1 if re.match(SHARES, key) else math.inf
            if low <= v <= high: continue
            yield f'epoch {row.get("epoch")}: {key} must be in [{low}, {high}], got {v}'
    rate = record.realised_rate
    if rate is not None and not 0 <= rate <= 1: yield f'realised_rate must be in [0, 1], got {rate}'
    if not any('_acc/' in key for key in record.curve[-1]):
        yield 'the last epoch has no accuracy'

def hash_faults(raw, record):
    "Are the hashes of labels and inputs hashes?"
    for name in 'labels', 'pixels':
        value = getattr(record, name)
        if not re.fullmatch('[0-9a-f]{8,64}', value or ''): yield f'{name} is no hash: {value!r}'

def environment_faults(raw):
    "Does it say on what it was made, and how long it took?"
    env = raw.get('env', {})
    missing = [name for name in ENVIRONMENT if env.get(name) in (None, '', {})]
    if missing: yield f'env does not say {", ".join(missing)}'
    torch = env.get('torch')
    if not re.match(r'\d+\.\d+', str(torch)): yield f'no version: torch {torch}'
    seconds = env.get('seconds') or {}
    wrong = [f'{k} {v}' for k, v in seconds.items() if not v >= 0]
    if wrong: yield f'seconds must be at least 0, got {", ".join(wrong)}'


# Is its code in the history?

def git(*words):
    "What git says about this project, or None: there may be no history, or no git."
    cmd = ['git', '-C', str(ROOT), *words]
    try: p = subprocess.run(cmd, capture_output=True, text=True)
    except OSError: return None
    return None if p.returncode else p.stdout.strip()

@cache
def history():
    "Commits, and hashes of the package's folder at each of them; None where it is not whole."
    if git('rev-parse', '--show-toplevel') != str(ROOT): return None
    if git('rev-parse', '--is-shallow-repository') != 'false': return None
    commits = git('rev-list', 'HEAD').split()
    names = '\n'.join(f'{c}:sgn_nb' for c in commits)
    cmd = ['git', '-C', str(ROOT), 'cat-file', '--batch-check=%(objectname)']
    p = subprocess.run(cmd, input=names, capture_output=True, text=True)
    return commits, [line for line in p.stdout.splitlines() if not line.endswith('missing')]

def is_among(short, hashes): return bool(short) and any(h.startswith(short) for h in hashes)

def code_faults(raw, path):
    "Does it name a commit of the history, or a tree of the package that some commit has?"
    env = raw.get('env', {})
    commit = env.get('commit')
    if history() is None or commit in LOST.get(path.stem, ()): return
    commits, trees = history()
    if is_among(commit, commits) or is_among(env.get('tree'), trees): return
    if commit and commit.endswith('+changes'):
        yield f'made by {commit}: commit the changes, and run it again'
    else: yield f'commit {commit} is not in the history'


# What records say of each other

def place(path, n): return f'{path}, line {n}' if path.suffix == '.jsonl' else str(path)

def faults_of(raw, path, n):
    "All that is wrong with one record."
    source = place(path, n)
    if not isinstance(raw, dict): return [f'{source} is no record']
    common = [*environment_faults(raw), *code_faults(raw, path)]
    if 'what' in raw: return common                        # a measurement of another kind
    wrong = [*schema_faults(raw, source)]
    if wrong: return wrong
    record = parse_record(raw, source)
    checks = id_faults, curve_faults, range_faults, hash_faults
    return [fault for check in checks for fault in check(raw, record)] + common

def other_faults(lines):
    "Place -> what is wrong with a record beside the others: its name twice, other data, the order."
    ids = Counter(raw.get('id') for _, _, raw in lines)
    data, before = {}, {}
    for path, n, raw in lines:
        name, source = raw.get('id'), place(path, n)
        if ids[name] > 1: yield source, f'there are {ids[name]} records of this id'
        if path.suffix == '.jsonl' and before.get(path, '') > str(name):
            yield source, 'the lines are not sorted by id (sgn_pack sorts them)'
        before[path] = str(name)
        if 'what' in raw: continue
        for key, value in data_hashes(raw):
            first, other = data.setdefault(key, (value, source))
            if first == value: continue
            yield source, f'its {key[0]} are not those of {other}, of the same data'

def data_hashes(raw):
    "What must be equal, and where: labels of one noise, seed and split; inputs of one data set."
    spec = raw.get('spec', {})
    def of(*names): return tuple(str(spec.get(name)) for name in names)
    data = of('dataset', 'n_train', 'image_size', 'skip_bad')
    seen = of('features', 'feature_size') if spec.get('features') else ()
    yield ('labels', *data, *of('label_column', 'noise', 'seed', 'val_share')), raw.get('labels')
    yield ('pixels', *data, *seen, *of('seed', 'val_share')), raw.get('pixels')

def lines_of(path):
    "Number and content of each record of a file."
    if path.suffix == '.jsonl': return enumerate(read_lines(path), 1)
    return [(1, read_json(path))]

def files_of(place):
    "The files of records that a name stands for."
    path = Path(place)
    if not path.exists(): sys.exit(f'verify_records: no file or folder {place}')
    if path.is_file(): return [path]
    files = sorted([*path.glob('*.jsonl'), *path.glob('*.json')])
    return [f for f in files if not f.name.endswith('.failed.json')]

def verify(paths):
    "Print what is wrong with the records of these files; how many are right, and how many are not."
    lines = [(path, n, raw) for path in paths for n, raw in lines_of(path)]
    faults = {}
    for path, n, raw in lines: faults[place(path, n)] = faults_of(raw, path, n)
    objects = [line for line in lines if isinstance(line[2], dict)]
    for source, fault in other_faults(objects): faults[source].append(fault)
    for path, n, raw in lines:
        name = raw.get('id') if isinstance(raw, dict) else None
        for fault in faults[place(path, n)]: print(f'{place(path, n)}: {name}: {fault}')
    failed = sum(map(bool, faults.values()))
    return len(faults) - failed, failed

def main(places):
    "Verify the committed records and what is named; exit status 1 if anything is wrong."
    committed = sorted((ROOT/'records').glob('*.jsonl'))
    named = [path.resolve() for name in places for path in files_of(name)]
    try: passed, failed = verify(list(dict.fromkeys([*committed, *named])))
    except ValueError as e: sys.exit(f'verify_records: {e}')
    if history() is None: print('provenance was not checked: the history is not here, or not whole')
    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed or not passed else 0)

if __name__ == '__main__': main(sys.argv[1:])
