"""What our pages claim follows from the committed records, and no page claims what nobody can look
up: `nbs/about/claims.toml` has a row for each such sentence."""
import json
import re
import pytest
from conftest import ROOT
from sgn_nb.results.ledger import (
    grid_frames, ledger, page_faults, page_text, read_claims, verdict_faults)

NBS, RECORDS = ROOT/'nbs', ROOT/'records'
CLAIMS = read_claims(NBS/'about/claims.toml')
PAGES = sorted(['index.ipynb', 'about/02_faq.ipynb',
                *(p.relative_to(NBS).as_posix() for p in (NBS/'results').glob('*.ipynb'))])

@pytest.mark.parametrize('page', PAGES)
def test_every_claim_of_a_page_is_a_row(page):
    "Nothing is called ahead, behind or level, and nothing helps, unless a row says what decides it."
    faults = page_faults(page, page_text(NBS/page), CLAIMS)
    assert not faults, '\n'.join(faults)

def test_rows_are_of_pages_that_are_read():
    "A row of a page that no test reads would never be missed."
    assert {row['page'] for row in CLAIMS} <= set(PAGES)

def test_verdicts_follow_from_the_records():
    "Records that were run anew may say something else: then the sentence must go."
    faults = verdict_faults(CLAIMS, RECORDS)
    assert not faults, '\n'.join(faults)

def test_a_ledger_of_all_grids():
    "Each claim of the paper is asked of each grid on record, noise by noise, once."
    rows = ledger(grid_frames(RECORDS))
    assert rows and len({row['id'] for row in rows}) == len(rows)
    assert any(row['verdict'] in ('holds', 'fails') for row in rows)

def test_the_page_of_the_ledger_is_current():
    "It was run anew after the last record: whoever reads it reads what the records say."
    nb = json.loads((NBS/'about/07_ledger.ipynb').read_text(encoding='utf-8'))
    outputs = [o['data'].get('text/markdown', []) for c in nb['cells'] for o in c.get('outputs', [])
               if 'data' in o]
    shown = '\n'.join(map(''.join, outputs))
    rows = [row for row in ledger(grid_frames(RECORDS)) if row['verdict'] != 'not run']
    def line(row): return rf"\| {re.escape(row['id'])} +\| [^|]+\| {row['verdict']} +\|"
    stale = [row['id'] for row in rows if not re.search(line(row), shown)]
    assert not stale, f'run nbs/about/07_ledger.ipynb again: {stale}'
