"""The learning rates that noisy validation labels choose in a grid that tries several:
`choose_rates.py RECORDS SETTINGS.toml`, for a folder or a file of records."""
import sys
from sgn_nb.experiments.records import load_records
from sgn_nb.experiments.search import choose_in_grid, save_search, search_table

def main(records, settings):
    results = choose_in_grid(load_records(records), 'lr')
    save_search(results, settings, records)
    print(search_table(results))

if __name__ == '__main__':
    if len(sys.argv) != 3: sys.exit(__doc__)
    main(*sys.argv[1:])
