"""From a report to Label Studio and back: labels stay as they are written, votes stay votes."""
import csv
import json
import numpy as np
import pytest
from sgn_nb.apps.cli import sgn_review
from sgn_nb.apps.label_page import write_report
from sgn_nb.apps.label_report import evidence_from_probs
from sgn_nb.apps.label_tables import Listing

CLASSES = ['01', '02', 'NA']
FILES = [f'{k}.png' for k in range(60)]
GIVEN = [CLASSES[k % 3] for k in range(60)]

@pytest.fixture
def report(tmp_path):
    "Of sixty images, each labelled by three people; the first label is wrong, and all agree on it."
    truth = np.arange(60) % 3
    truth[0] = 1
    probs = .02 + .94*np.eye(3)[truth]
    votes = [[f, y, a] for a in 'abc' for f, y in zip(FILES, GIVEN)]
    for k, vote in enumerate(votes[-60:]): vote[1] = '02' if k % 2 else GIVEN[k]
    table = Listing(['file', 'label', 'annotator'], votes, 'file', 'label', list(range(60)))
    e = evidence_from_probs(probs, GIVEN, CLASSES)
    write_report(e, None, tmp_path/'report', FILES, table=table)
    return tmp_path/'report', votes

def rows(path):
    with open(path, newline='', encoding='utf-8') as f: return list(csv.reader(f))

def test_there_and_back(report, tmp_path):
    folder, votes = report
    corrected = rows(folder/'corrected.csv')[1:]
    assert [r for r, v in zip(corrected, votes) if r != v] == [['0.png', '02', a] for a in 'abc']
    sgn_review(str(folder), tasks=str(tmp_path/'tasks.json'))
    task, = json.loads((tmp_path/'tasks.json').read_text())
    assert (task['data']['given'], task['data']['suggested']) == ('01', '02')
    result = {'from_name': 'label', 'value': {'choices': ['NA']}}
    export = [{'data': task['data'], 'annotations': [{'result': [result]}]}]
    (tmp_path/'export.json').write_text(json.dumps(export))
    sgn_review(str(folder), answers=str(tmp_path/'export.json'), out=str(tmp_path/'reviewed.csv'))
    header, *reviewed = rows(tmp_path/'reviewed.csv')
    assert header == ['file', 'label', 'annotator', 'given_label', 'suggested_label', 'decision']
    for row, vote in zip(reviewed, votes, strict=True):
        if vote[0] == '0.png': assert row == ['0.png', 'NA', vote[2], '01', '02', 'changed']
        else: assert row == [*vote, vote[1], '', '']
