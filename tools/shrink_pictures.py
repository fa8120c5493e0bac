"""The pictures in notebooks with 256 colours, half as large and the same to the eye: give it names
of notebooks. A photograph that would lose by it stays as it is."""
import base64
import io
import json
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

LOSS = 1.5  # of 255 levels, root mean square; the lines and letters of a diagram lose less


def encoded(picture):
    file = io.BytesIO()
    picture.save(file, 'png', optimize=True)
    return file.getvalue()

def loss(picture, other):
    "Root mean square difference of the channel that differs most."
    difference = ImageChops.difference(picture, other.convert('RGB'))
    return max(ImageStat.Stat(difference).rms)

def shrink(png):
    "A PNG file with 256 colours, or the one that was given, where that is no better."
    picture = Image.open(io.BytesIO(png))
    if picture.mode == 'P' or picture.convert('RGBA').getextrema()[3][0] < 255: return png
    whole = picture.convert('RGB')
    small = whole.quantize(256, dither=Image.Dither.NONE)
    if loss(whole, small) > LOSS: return png
    return min(png, encoded(small), key=len)

def shrink_notebook(path):
    "Shrink the pictures of a notebook's outputs, and say what was gained."
    nb = json.loads(path.read_text(encoding='utf-8'))
    outputs = [o.get('data', {}) for c in nb['cells'] for o in c.get('outputs', [])]
    for data in outputs:
        if 'image/png' not in data: continue
        png = base64.b64decode(''.join(data['image/png']))
        data['image/png'] = base64.b64encode(shrink(png)).decode()
    text = json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True) + '\n'
    print(f'{path}: {path.stat().st_size/1000:.0f} kB, now {len(text.encode())/1000:.0f}')
    path.write_text(text, encoding='utf-8')

if __name__ == '__main__':
    for name in sys.argv[1:]: shrink_notebook(Path(name))
