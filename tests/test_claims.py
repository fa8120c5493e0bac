"""What our pages claim follows from the committed records, and no page claims what nobody can look
up: `nbs/about/claims.toml` has a row for each such sentence."""
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
