"""A folder of small images, bright by day and dark by night, with a CSV of labels:
`python tools/make_photos.py FOLDER`."""
import sys
from pathlib import Path
import numpy as np
from PIL import Image


def make_photos(folder, n=40):
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ['file,label']
    for k in range(n):
        label, low = [('night', 0), ('day', 100)][k % 2]
        pixels = rng.integers(low, low+130, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder/f'{k:02}.png')
        rows.append(f'{k:02}.png,{label}')
    (folder/'labels.csv').write_text('\n'.join(rows), encoding='utf-8')

if __name__ == '__main__': make_photos(Path(sys.argv[1]))
