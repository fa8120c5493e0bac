"""The measurement of detectors counts as the field does, goes on where it was, and asks for the
features of an image only once."""
import importlib.util
import numpy as np
import pytest
import torch
from conftest import ROOT
from sgn_nb.data.examples import from_arrays
from sgn_nb.experiments.records import read_lines

def load_tool():
    place = ROOT/'tools/measure_detectors.py'
    spec = importlib.util.spec_from_file_location('measure_detectors', place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

tool = load_tool()

def test_ranking():
    "Five labels, two of them wrong: all figures by hand. The lowest score comes first."
    wrong = np.array([True, False, False, True, False])
    figures = tool.ranking(wrong, [.1, .2, .9, .3, .8])
    assert figures == {'ap': round((1/1 + 2/3)/2, 5), 'auroc': round(5/6, 5), 'fnr': .5, 'p100': .4}
    assert tool.ranking(wrong, [0, 1, 1, 0, 1]) == {'ap': 1, 'auroc': 1, 'fnr': 0, 'p100': .4}
    missing = tool.ranking(wrong, [0, 1, 1, float('nan'), 1])         # it counts as undecided
    assert missing['ap'] == 1

def test_class_rates():
    "Of three examples of class 0 one is given another label; class 2 does not occur."
    true, given = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
    assert tool.class_rates(true, given, 3) == pytest.approx([1/3, 0, 0])

def test_cases():
    "Four kinds of labels, three draws and one to choose by, for every detector; no case twice."
    names = [case.name for case in tool.cases()]
    assert len(set(names)) == len(names)
    assert {case.detector for case in tool.cases()} == set(tool.DETECTORS)
    def draws(n, detector):
        return [c.draw for c in tool.cases() if (c.n, c.detector) == (n, detector)]
    for n in 1_500, 10_000:
        for detector in ('features-sgn', 'scratch-sgn'):
            assert sorted(draws(n, detector)) == sorted([0, 1, 2, 3]*4)
        for detector in ('features-folds', 'scratch-folds', 'features-neighbours'):
            assert sorted(draws(n, detector)) == sorted([0, 1, 2]*4)
    assert draws(50_000, 'airbench-sgn') == [0, 0]

@pytest.fixture
def small(monkeypatch, tmp_path):
    "The tool on 200 rows of two classes, which their features tell apart; two cases."
    rng = np.random.default_rng(0)
    true = np.arange(200) % 2
    x = torch.from_numpy(rng.normal(size=(200, 6)) + 3*true[:, None]).float()
    images = torch.zeros(200, 3, 8, 8).byte()
    data = from_arrays(images, true, true=true)
    todo = [tool.Case(200, 'sym-0.4', 0, f'features-{kind}') for kind in ('sgn', 'neighbours')]
    for name, value in {
            'folder': lambda column: data, 'rows': lambda: x, 'cases': lambda: iter(todo),
            'look_seconds': lambda: .5, 'look_flops': lambda: 7, 'RUNS': tmp_path/'runs',
            'RECORDS': tmp_path/'detectors.jsonl',
            'check_extras': lambda: None, 'cleanlab_figures': lambda labels, wrong: {}}.items():
        monkeypatch.setattr(tool, name, value)
    return tmp_path

def test_says_what_is_missing(monkeypatch):
    "An extra that is not installed is named before anything is trained."
    monkeypatch.setattr(tool, 'find_spec', lambda name: None if name == 'cleanlab' else name)
    with pytest.raises(ImportError, match=r'cleanlab is needed: .*sgn_nb\[bench\]'): tool.main()

def test_goes_on(small, monkeypatch):
    "A case is measured once; what was trained and not scored is only scored."
    tool.main('*neighbours')
    assert [line['id'] for line in read_lines(tool.RECORDS)] == ['n200_sym-0.4_s0_features-neighbours']
    tool.main()
    ours, theirs = read_lines(tool.RECORDS)[::-1]
    assert ours['id'].endswith('sgn') and ours['look'] == {'seconds': 100, 'flops': 1400}
    assert ours['spec']['features'] == 'effnet-lite0' and ours['flops'] > 0
    belief = ours['ours']['scores']['belief']
    assert belief['ap'] > .9 and belief['fnr'] < .2 and len(ours['ours']['class_rates']) == 2
    assert theirs['neighbours']['scores']['votes']['auroc'] > .9
    assert theirs['labels'] == ours['labels']                         # the same draw
    lines = read_lines(tool.RECORDS)
    tool.RECORDS.unlink()
    def measured(case): raise AssertionError(f'{case.name} was measured twice')
    monkeypatch.setattr(tool, 'measure', measured)
    tool.main()
    assert [line['ours'] for line in read_lines(tool.RECORDS) if 'ours' in line] == [ours['ours']]
    assert len(read_lines(tool.RECORDS)) == len(lines)
