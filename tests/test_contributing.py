"""The page that tells how to add a method is tried: its cell, its line and its law, as they stand
there."""
import re
import sys
import nbformat
from conftest import BIN, run

def edit(path, change):
    "Change a notebook's list of cells in place."
    nb = nbformat.read(path, 4)
    change(nb.cells)
    nbformat.write(nb, path)

def test_a_thirteenth_method(copy, tmp_path):
    """One cell into a notebook, one line into the registry, exported: the law holds, and
    `sgn_train` trains with it."""
    page = (copy/'CONTRIBUTING.md').read_text().split('## Add a method')[1]
    blocks = lambda kind: [re.sub('^   ', '', b, flags=re.M) for b in re.findall(rf'```{kind}\n(.*?)   ```', page, re.S)]
    (cell, law), (diff,) = blocks('python'), blocks('diff')
    before, line, after = [l[1:] for l in diff.splitlines()]

    def one_cell(cells): cells.insert(-1, nbformat.v4.new_code_cell(cell))
    def one_line(cells):
        registry, = [c for c in cells if c.source.startswith('#| export\nMETHODS')]
        assert f'{before}\n{after}' in registry.source
        registry.source = registry.source.replace(before, f'{before}\n{line}')
    edit(copy/'nbs/21_loss_methods.ipynb', one_cell)
    edit(copy/'nbs/26_registry.ipynb', one_line)
    run(BIN/'nbdev_export', cwd=copy)

    python = lambda code, *args: run(sys.executable, '-c', code, *args, cwd=copy, PYTHONPATH=str(copy)).stdout
    python(f'import torch\nfrom torch import nn\nfrom fastcore.test import test_close\nfrom sgn_nb.methods.loss import SCE, F\n{law}')
    said = python('from sgn_nb.cli import main_train; main_train()', '--method', 'sce', '--settings', 'b=.5', '--n-train', '200',
                  '--batch', '30', '--net', 'mlp', '--epochs', '2', '--device', 'cpu', '--out', tmp_path/'out')
    assert '| sce ' in said
