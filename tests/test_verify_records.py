"""Whoever sends a record, and whoever takes it, types one command; what is spoilt in a record is a
sentence that says where and what."""
import importlib.util
import json
from copy import deepcopy
import pytest
from conftest import ROOT

def load_tool():
    spec = importlib.util.spec_from_file_location('verify_records', ROOT/'tools/verify_records.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

tool = load_tool()
LINES = (ROOT/'records/digits.jsonl').read_text().splitlines()
ALL = [json.loads(line) for line in LINES]
RIGHT, SPOILABLE = ALL[:2], ALL[2]
# labels and inputs are those of a seed: the same for another method
TWIN = next(r for r in ALL[3:] if r['spec']['seed'] == SPOILABLE['spec']['seed'])

def written(path, records):
    "The records as a file, a line each."
    path.write_text(''.join(f'{json.dumps(r)}\n' for r in records))
    return path

def faults(path, capsys):
    "What the tool says of a file's records."
    passed, failed = tool.verify([path])
    lines = capsys.readouterr().out.splitlines()
    assert passed + failed == len(path.read_text().splitlines())
    assert (failed > 0) == (len(lines) > 0)
    return '\n'.join(lines)

def at(record, *keys, value):
    "Put a value into a record."
    *most, last = keys
    for k in most: record = record[k]
    record[last] = value

def cut(record):
    "Leave out the last epoch, as a run that was not finished."
    record['curve'] = {k: v[:-1] for k, v in record['curve'].items()}

def thin_out(record):
    "Leave out every second epoch but the last."
    keep = [n for n in range(100) if n % 2 == 0 or n == 99]
    record['curve'] = {k: [v[n] for n in keep] for k, v in record['curve'].items()}

SPOILT = {
    'no schema':       (lambda r: r.pop('schema'), 'it has no schema'),
    'another schema':  (lambda r: at(r, 'schema', value=9), 'has schema 9'),
    'unknown key':     (lambda r: at(r, 'note', value='mine'), 'no record of this version'),
    'unknown method':  (lambda r: at(r, 'spec', 'method', value='sng'), "unknown method 'sng'"),
    'edited spec':     (lambda r: at(r, 'spec', 'lr', value=.07), 'its spec has the id digits_'),
    'renamed':         (lambda r: at(r, 'id', value='digits_best'), 'its spec has the id digits_'),
    'cut short':       (cut, 'must begin with epoch 0 and end with epoch 99'),
    'thinned out':     (thin_out, 'the curve has 51 rows, at least 100 are expected'),
    'short column':    (lambda r: r['curve']['loss'].pop(), 'not as many values of loss'),
    'epoch twice':     (lambda r: at(r, 'curve', 'epoch', 3, value=2), 'do not rise'),
    'percent':         (lambda r: at(r, 'curve', 'test_acc/net', 5, value=97.1),
                        'epoch 5: test_acc/net must be in [0, 1], got 97.1'),
    'rate':            (lambda r: at(r, 'realised_rate', value=40), 'realised_rate must be in'),
    'no labels':       (lambda r: at(r, 'labels', value=None), 'labels is no hash: None'),
    'other labels':    (lambda r: at(r, 'labels', value='0'*16), 'its labels are not those of'),
    'other pixels':    (lambda r: at(r, 'pixels', value='0'*12), 'its pixels are not those of'),
    'no machine':      (lambda r: r['env'].pop('device'), 'env does not say device'),
    'torch from home': (lambda r: at(r, 'env', 'torch', value='mine'), 'no version: torch mine'),
    'time machine':    (lambda r: at(r, 'env', 'seconds', 'train', value=-1), 'train -1'),
    'lost commit':     (lambda r: at(r, 'env', 'commit', value='0123456789'), 'not in the history'),
    'uncommitted':     (lambda r: at(r, 'env', 'commit', value='0123456789+changes'),
                        'commit the changes, and run it again')}

@pytest.mark.parametrize('name', SPOILT)
def test_spoilt_record(tmp_path, capsys, monkeypatch, name):
    "The sentence has file, line, id and what is wrong; the other records are not blamed."
    spoilt = deepcopy(SPOILABLE)
    known = [r['env']['commit'] for r in ALL]
    monkeypatch.setattr(tool, 'history', lambda: (known, []))
    spoil, words = SPOILT[name]
    spoil(spoilt)
    said = faults(written(tmp_path/'some.jsonl', [*RIGHT, spoilt, TWIN]), capsys)
    assert words in said, said
    blamed = [line for line in said.splitlines() if 'line 1:' in line or 'line 2:' in line]
    assert not blamed, said

def test_not_a_number(tmp_path):
    "NaN is no JSON: the file is not read at all, and the line is named."
    spoilt = deepcopy(SPOILABLE)
    at(spoilt, 'curve', 'loss', 5, value=float('nan'))
    path = written(tmp_path/'some.jsonl', [*RIGHT, spoilt, TWIN])
    with pytest.raises(ValueError, match=f'line {len(RIGHT)+1}: no JSON'): tool.verify([path])

def test_features_are_inputs_of_their_own():
    """Runs on images and on a frozen network's features of them have other inputs and the same
    labels; runs on the same features have the same."""
    def keys(**fields): return [key for key, _ in tool.data_hashes({'spec': {'dataset': 'a'} | fields})]
    labels, pixels = keys()
    assert keys(features='', feature_size=128) == [labels, pixels]
    seen = keys(features='effnet-lite0', feature_size=128)
    assert seen[0] == labels and seen[1] != pixels
    assert keys(features='effnet-lite0', feature_size=224)[1] not in (pixels, seen[1])

def test_order_and_duplicates(tmp_path, capsys, monkeypatch):
    "A file is sorted, and holds every run once."
    monkeypatch.setattr(tool, 'history', lambda: None)
    said = faults(written(tmp_path/'a.jsonl', RIGHT[::-1]), capsys)
    assert 'not sorted by id' in said
    said = faults(written(tmp_path/'b.jsonl', [*RIGHT, RIGHT[1]]), capsys)
    assert said.count('there are 2 records of this id') == 2

def test_without_a_history(tmp_path, capsys, monkeypatch):
    "A tarball has none: all else is checked, and the last line but one says what was not."
    monkeypatch.setattr(tool, 'history', lambda: None)
    monkeypatch.setattr(tool, 'ROOT', tmp_path)
    spoilt = deepcopy(SPOILABLE)
    spoilt['env']['commit'] = '0123456789'
    path = written(tmp_path/'some.jsonl', [*RIGHT, spoilt])
    with pytest.raises(SystemExit) as end: tool.main([path])
    assert end.value.code == 0
    assert capsys.readouterr().out.splitlines() == [
        'provenance was not checked: the history is not here, or not whole', '3 passed, 0 failed']

def test_files_that_are_none(tmp_path):
    "A name that is not there, and a file that is no JSON."
    (tmp_path/'broken.jsonl').write_text('{"id": ')
    for name, words in ('no.jsonl', 'no file'), ('broken.jsonl', 'line 1: no JSON'):
        with pytest.raises(SystemExit) as end: tool.main([str(tmp_path/name)])
        assert words in str(end.value.code)

def test_the_committed_records(capsys):
    "All of them are what they say they are."
    with pytest.raises(SystemExit) as end: tool.main([])
    said = capsys.readouterr().out
    assert end.value.code == 0, said
    assert said.splitlines()[-1].endswith(' passed, 0 failed')
