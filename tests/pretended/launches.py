"""How many kernels a step of each method launches, in bfloat16, with augmentation and statistics:
`launches.csv`. Run as a script, on the pretended device: counts anew and writes it."""
import csv
from pathlib import Path
from sgn_nb.methods.registry import METHODS
from trainings import measure

TABLE = Path(__file__).with_name('launches.csv')
NETS = 'fast_cnn', 'wrn28_2'
CELLS = [(method, net) for net in NETS for method in METHODS]


def read_table():
    "(method, network) -> launches of a step."
    with TABLE.open() as f: rows = list(csv.DictReader(f))
    return {(r['method'], net): int(r[net]) for r in rows for net in NETS}

def write_table(counts):
    rows = [{'method': method, **{net: counts[method, net] for net in NETS}} for method in METHODS]
    with TABLE.open('w', newline='') as f:
        writer = csv.DictWriter(f, ['method', *NETS], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)

def count(method, net):
    "Launches of a step."
    _, step, _ = measure(method, net)
    return step.launches.total()

if __name__ == '__main__': write_table({cell: count(*cell) for cell in CELLS})
