"""A stranger's folder: what has one reading is read and said, what has two is an error that shows
both, and nothing is lost in silence."""
import csv
import json
import shutil
import struct
import unicodedata
import zlib
import numpy as np
import pytest
import torch
from PIL import Image
from sgn_nb.data.examples import split
from sgn_nb.data.folder import read_folder

N = 24
CLASSES = 'ant', 'bee', 'cat'

def picture(k):
    "An image of its own for each number."
    return np.random.default_rng(k).integers(0, 256, (8, 8, 3), dtype=np.uint8)

def write(path, header, rows, encoding='utf-8', delimiter=','):
    with open(path, 'w', newline='', encoding=encoding) as f:
        csv.writer(f, delimiter=delimiter).writerows([header, *rows])

@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch): monkeypatch.setenv('SGN_CACHE', str(tmp_path/'cache'))

@pytest.fixture
def home(tmp_path):
    "Two dozen images, without a table."
    folder = tmp_path/'Photos'
    folder.mkdir()
    for k in range(N): Image.fromarray(picture(k)).save(folder/f'{k:02}.png')
    return folder

ROWS = [[f'{k:02}.png', CLASSES[k % 3]] for k in range(N)]

def check(found, numbers=range(N)):
    "Each image is beside its own label."
    data = found.data
    assert [data.classes[y] for y in data.train.y] == [CLASSES[k % 3] for k in numbers]
    for x, k in zip(data.train.x, numbers): assert (x.permute(1, 2, 0).numpy() == picture(k)).all()

def said(found): return ' | '.join(found.notes)


# Other shapes of the same data

DIALECTS = {'commas': {}, 'semicolons': dict(delimiter=';'), 'tabs': dict(delimiter='\t'),
            'bars': dict(delimiter='|'), 'a mark of UTF-8': dict(encoding='utf-8-sig'),
            'UTF-16': dict(encoding='utf-16'), 'UTF-32, tabs': dict(encoding='utf-32', delimiter='\t')}

@pytest.mark.parametrize('name', DIALECTS)
def test_dialects(home, name):
    "The table of a spreadsheet, whichever it is."
    write(home/'labels.csv', ('file', 'label'), ROWS, **DIALECTS[name])
    check(read_folder(home))

def test_an_encoding_is_asked_for(home):
    "Bytes that are words in several encodings: the message shows them, and an option decides."
    rows = [[f, {'ant': '개미', 'bee': '벌', 'cat': '고양이'}[l]] for f, l in ROWS]
    write(home/'labels.csv', ('file', 'label'), rows, encoding='cp949')
    with pytest.raises(ValueError, match="--encoding cp949: '00.png,개미'"): read_folder(home)
    assert set(read_folder(home, encoding='cp949').data.classes) == {'개미', '벌', '고양이'}

COLUMNS = {
    'Hugging Face':       ('metadata.csv', ('file_name', 'label'), lambda f, l: (f, l)),
    'other names':        ('labels.csv', ('path', 'species'), lambda f, l: (f, l)),
    'pandas index':       ('labels.csv', ('', 'file', 'label'), lambda f, l: (int(f[:2]), f, l)),
    'empty columns':      ('labels.csv', ('file', 'label', '', ''), lambda f, l: (f, l, '', '')),
    'another table':      ('truth.tsv', ('image', 'class', 'age'), lambda f, l: (f, l, '3')),
    'one column a class': ('labels.csv', ('image', *CLASSES),
                           lambda f, l: (f, *(float(c == l) for c in CLASSES))),
    'unnamed index':      ('train.csv', ('Unnamed: 0', 'id', 'breed'),
                           lambda f, l: (100+int(f[:2]), f[:-4], l)),
    'no header':          ('labels.csv', ROWS[0], lambda f, l: (f, l)),
    'no header, nor extensions': ('labels.csv', ('00', 'ant'), lambda f, l: (f[:-4], l))}

@pytest.mark.parametrize('name', COLUMNS)
def test_columns(home, name):
    "Columns are found by what is in them."
    file, header, row = COLUMNS[name]
    rows = ROWS[1:] if 'no header' in name else ROWS
    write(home/file, header, [row(*r) for r in rows], delimiter='\t' if 'tsv' in file else ',')
    check(read_folder(home))

def test_json_lines(home):
    lines = [json.dumps({'file_name': f, 'label': l}) for f, l in ROWS]
    (home/'metadata.jsonl').write_text('\n'.join(lines))
    check(read_folder(home))

JSON = {'files and labels': dict(ROWS),
        'files of classes': {c: [f for f, l in ROWS if l == c] for c in CLASSES},
        'columns':          {'file': [f for f, _ in ROWS], 'label': [l for _, l in ROWS]},
        'a data frame':     {'file': {str(k): f for k, (f, _) in enumerate(ROWS)},
                             'label': {str(k): l for k, (_, l) in enumerate(ROWS)}}}

@pytest.mark.parametrize('name', JSON)
def test_json(home, name):
    "Mappings of several shapes are tables, too."
    (home/'truth.json').write_text(json.dumps(JSON[name]))
    found = read_folder(home)
    assert sorted(found.files) == [f for f, _ in ROWS]
    for f, y in zip(found.files, found.data.train.y): assert CLASSES[y] == dict(ROWS)[f]

def test_no_text(home):
    "A table that is none is named."
    (home/'truth.xlsx').write_bytes(b'PK\3\4' + bytes(60))
    with pytest.raises(ValueError, match='truth.xlsx is a ZIP file.*save the table as CSV'):
        read_folder(home)

def test_images_beside_class_folders(home):
    "Test images without a class are no matter of labels; others must be left out by the user."
    for k, (f, l) in enumerate(ROWS):
        place = home/('test' if k < 6 else f'train/{l}')
        place.mkdir(parents=True, exist_ok=True)
        (home/f).rename(place/f)
    found = read_folder(home)
    assert len(found.data.train) == N-6 and '6 test images, such as test/00.png' in said(found)
    assert len(found.skipped) == 6
    Image.fromarray(picture(90)).save(home/'train'/'stray.png')
    with pytest.raises(ValueError, match='1 images in Photos that lie in no folder of a class'):
        read_folder(home)

def test_several_columns_could_be_the_label(home):
    "They are shown, with the option that chooses; what differs in each row is no class."
    rows = [(f, l, CLASSES[k % 2], f'note {k}') for k, (f, l) in enumerate(ROWS)]
    write(home/'labels.csv', ('file', 'ann', 'bob', 'note'), rows)
    with pytest.raises(ValueError, match="choose --label-column 'ann' or --label-column 'bob'$"):
        read_folder(home)

@pytest.mark.parametrize('parts', [(), ('train',), ('train', 'Test'), ('training', 'valid')])
def test_folders_as_classes(home, parts):
    "Classes are folders, perhaps below words for splits."
    for k, (f, l) in enumerate(ROWS):
        place = home/(parts[k//12 % len(parts)] if parts else '')/l
        place.mkdir(parents=True, exist_ok=True)
        (home/f).rename(place/f)
    found = read_folder(home)
    data = found.data
    sizes = [len(data.train), len(data.val or ()), len(data.test or ())]
    assert sum(sizes) == N and data.classes == CLASSES and 'names of folders' in said(found)
    assert sizes[0] == (N if len(parts) < 2 else 12)
    for f, y in zip(found.files[:len(data.train)], data.train.y): assert CLASSES[y] in f

def test_two_readings(home):
    "A table and folders that could be classes: both are shown."
    for f, l in ROWS:
        (home/l).mkdir(exist_ok=True)
        (home/f).rename(home/l/f)
    write(home/'mine.csv', ('file', 'label'), ROWS)
    with pytest.raises(ValueError, match='--labels mine.csv or --labels folders'): read_folder(home)
    assert read_folder(home, 'folders').data.K == read_folder(home, 'mine.csv').data.K == 3

def test_annotators(home):
    "Several rows an image are votes where a column says whose."
    rows = [(f, l if a < 2 else CLASSES[0], a) for f, l in ROWS for a in range(3)]
    write(home/'labels.csv', ('file', 'label', 'worker_id'), rows)
    found = read_folder(home)
    check(found)
    assert '72 rows are votes on 24 images' in said(found)
    assert found.votes.sum(1).tolist() == [3]*N
    assert found.votes[1].tolist() == [1, 2, 0] and found.votes[3].tolist() == [3, 0, 0]
    odd = [(f, 'dog' if a == 2 else l, a) for f, l, a in rows]
    write(home/'labels.csv', ('file', 'label', 'worker_id'), odd)
    outvoted = read_folder(home)
    check(outvoted)
    assert 'gave to no image are no classes: dog (24)' in said(outvoted)
    write(home/'labels.csv', ('file', 'label'), [row[:2] for row in rows])
    with pytest.raises(ValueError, match='more than once, with different labels.*--skip-bad'):
        read_folder(home)

SPLITS = {'words': ('split', ('Train', 'val', 'TEST'), (8, 8, 8)),
          'other words': ('part', ('training', 'dev', 'testing'), (8, 8, 8)),
          'a flag': ('is_valid', (False, True, False), (16, 8, 0)),
          'numbers': ('is_test', (0, 1, 0), (16, 0, 8))}

@pytest.mark.parametrize('name', SPLITS)
def test_splits(home, name):
    "Words for splits, and columns that say the same by yes and no."
    column, values, sizes = SPLITS[name]
    rows = [(f, CLASSES[k // 8], values[k % 3]) for k, (f, _) in enumerate(ROWS)]
    write(home/'labels.csv', ('file', 'label', column), rows)
    found = read_folder(home)
    data = found.data
    assert (len(data.train), len(data.val or ()), len(data.test or ())) == sizes
    assert column == 'split' or repr(column) in said(found)
    assert len(read_folder(home, split_col=None).data.train) == N
    part = read_folder(home, parts=('train', 'val'))
    assert part.data.test is None and (not sizes[2] or '8 test rows are left out' in said(part))


# Spellings

SPELLED = {
    'backslashes':         lambda f: f'sub\\{f}',
    'a drive':             lambda f: f'C:\\Users\\Me\\Photos\\sub\\{f}',
    'capitals':            lambda f: f'SUB/{f.upper()}',
    'no extension':        lambda f: f'sub/{f[:-4]}',
    'another extension':   lambda f: f'sub/{f[:-4]}.jpeg',
    'no folder':           lambda f: f,
    'own folder in front': lambda f: f'Photos/sub/{f}',
    "somebody's path":     lambda f: f'/home/alice/data/sub/{f}',
    'blanks':              lambda f: f' ./sub//{f} ',
    'an address':          lambda f: f'https://example.org/%73ub/{f}',
    'zeros that a spreadsheet dropped': lambda f: f'{int(f[:2])}',
    'numbers with a point': lambda f: f'{int(f[:2])}.0'}

@pytest.mark.parametrize('name', SPELLED)
def test_file_names(home, name):
    "As long as one file fits, it is found; and the report keeps the table's spelling."
    (home/'sub').mkdir()
    for f, _ in ROWS: (home/f).rename(home/'sub'/f)
    rows = [(SPELLED[name](f), l) for f, l in ROWS]
    write(home/'labels.csv', ('file', 'label'), rows)
    found = read_folder(home)
    check(found)
    assert found.files == [f for f, _ in rows]

def test_letters_in_two_parts(home):
    "macOS takes accents apart; tables put them together, or the other way."
    for f, _ in ROWS: (home/f).rename(home/unicodedata.normalize('NFD', f'사진é{f}'))
    labels = dict(zip(CLASSES, ('개미', 'é', 'ö')))
    forms = 'NFC', 'NFD'
    rows = [[f'사진é{f}', unicodedata.normalize(forms[k % 2], labels[l])]
            for k, (f, l) in enumerate(ROWS)]
    write(home/'labels.csv', ('file', 'label'), rows)
    assert read_folder(home).data.K == 3

def test_two_files_fit(home):
    for name in ('a.jpg', 'A.jpg'): Image.fromarray(picture(50)).save(home/name)
    write(home/'labels.csv', ('file', 'label'), [*ROWS, ('a.JPG', 'ant')])
    with pytest.raises(ValueError, match=r'a.JPG \(A.jpg or a.jpg\)'): read_folder(home)

def test_labels_in_two_spellings(home):
    "Numbers are one number; all else that looks alike is said and kept."
    rows = [(f, f'{k % 3}.0' if k < 12 else k % 3) for k, (f, _) in enumerate(ROWS)]
    write(home/'labels.csv', ('file', 'label'), rows)
    assert read_folder(home).data.classes == ('0', '1', '2')
    rows = [(f, ('cat', 'Cat ', 'hot dog', 'hot_dog', 'n/a', 'cat+dog', 'dog', 'Dog')[k % 8])
            for k, (f, _) in enumerate(ROWS)]
    write(home/'labels.csv', ('file', 'label'), rows)
    found = read_folder(home)
    for words in ('Cat = cat', 'hot dog = hot_dog', '--unlabelled=n/a', 'cat+dog'):
        assert words in said(found)
    assert found.data.K == 8 and len(found.data.train) == N
    rest = read_folder(home, unlabelled=['n/a'])
    assert rest.data.K == 7 and len(rest.data.train) == N-3 and len(rest.skipped) == 3


# What a viewer sees

def test_pictures_that_are_all_the_same(home):
    "Whatever made them so, there is nothing to learn from them."
    write(home/'labels.csv', ('file', 'label'), ROWS)
    for f, _ in ROWS: Image.new('L', (8, 8), 9).save(home/f)
    with pytest.raises(ValueError, match='all 24 images are blank'): read_folder(home)
    for f, _ in ROWS: Image.fromarray(picture(0)).save(home/f)
    with pytest.raises(ValueError, match='all 24 images have the same pixels'): read_folder(home)

def deep_png(path, a):
    "A PNG of 16 bits a sample: grey, with transparency, RGB, or RGBA."
    def chunk(kind, data):
        return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
    h, w, c = a.shape
    head = struct.pack('>IIBBBBB', w, h, 16, (0, 4, 2, 6)[c-1], 0, 0, 0)
    pixels = b''.join(b'\0'+row.astype('>u2').tobytes() for row in a)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
                     + chunk(b'IDAT', zlib.compress(pixels)) + chunk(b'IEND', b''))

@pytest.mark.parametrize('ink', [0, 90, 255])
@pytest.mark.parametrize('mode', ['LA', 'RGBA', 'LA of 16 bits', 'RGBA of 16 bits'])
def test_transparency(home, ink, mode):
    "A drawing on nothing is seen, whatever its ink."
    write(home/'labels.csv', ('file', 'label'), ROWS)
    for k, (f, _) in enumerate(ROWS):
        alpha = picture(k)[..., 0]
        bands = [*[0*alpha + ink]*(1 if mode.startswith('LA') else 3), alpha]
        if '16' in mode: deep_png(home/f, np.stack(bands, 2).astype(np.uint16)*257)
        else: Image.merge(mode, [Image.fromarray(band) for band in bands]).save(home/f)
    found = read_folder(home)
    for k, x in enumerate(found.data.train.x):
        seen = np.corrcoef(x[0].ravel(), picture(k)[..., 0].ravel())[0, 1]
        assert abs(seen) > .99
    assert '24 of 24 images are transparent' in said(found)

def test_one_scale_for_deep_images(home):
    "Twelve bits keep their values, and dark images stay darker than bright ones."
    write(home/'labels.csv', ('file', 'label'), ROWS)
    for k, (f, _) in enumerate(ROWS):
        deep = picture(k)[..., 0].astype(np.uint16)*16//(1+k % 2)
        Image.fromarray(deep).save(home/f)
    x = read_folder(home).data.train.x
    assert len(x.unique()) > 200
    assert 1.8 < x[0::2].float().mean()/x[1::2].float().mean() < 2.2

def test_no_silent_crop(home):
    "What the middle square leaves out is said, and need not be left out."
    write(home/'labels.csv', ('file', 'label'), ROWS)
    for k, (f, _) in enumerate(ROWS):
        wide = np.zeros((8, 24, 3), np.uint8)
        wide[:, :9] = picture(k)[:, [0, *range(8)]]
        Image.fromarray(wide).save(home/f)
    assert 'middle square' in said(read_folder(home, size=8))
    for aspect in ('pad', 'squeeze'):
        found = read_folder(home, size=8, aspect=aspect)
        assert 'middle square' not in said(found) and found.data.train.x.float().std() > 20


# One bad apple

BAD = {'is empty': b'', 'is an HTML page': b'<!DOCTYPE html><html>', 'ends early': None,
       'is HEIC': b'\0\0\0\x18ftypheic\0\0\0\0mif1', 'holds nothing but zeros': bytes(300),
       'is JSON': b'{"error": 404}', 'is damaged, or a TIFF of a kind': b'II*\0\x08\0\0\0\0\0'}

@pytest.mark.parametrize('why', BAD)
def test_bad_image(home, why):
    "In words; left out on request, and every other image keeps its label."
    write(home/'labels.csv', ('file', 'label'), ROWS)
    path = home/'03.png'
    path.write_bytes(path.read_bytes()[:100] if BAD[why] is None else BAD[why])
    with pytest.raises(ValueError, match=f'--skip-bad.*03.png {why}'): read_folder(home)
    for _ in range(2):                                    # decoded, and from the cache
        found = read_folder(home, skip_bad=True)
        check(found, [k for k in range(N) if k != 3])
        (name, reason), = found.skipped
        assert name == '03.png' and why in reason and found.data.skipped == 1

def test_missing_unlisted_unlabelled(home):
    "One word for all of them."
    rows = [[f, '' if f == '05.png' else l] for f, l in ROWS if f != '04.png']
    write(home/'labels.csv', ('file', 'label'), [*rows, ['gone.png', 'ant']])
    for fault in ('gone.png', '04.png', '05.png'):
        with pytest.raises(ValueError, match=fault): read_folder(home)
        if fault == 'gone.png': write(home/'labels.csv', ('file', 'label'), rows)
        if fault == '04.png': (home/'04.png').rename(home.parent/'04.png')
    (home.parent/'04.png').rename(home/'04.heic')
    write(home/'labels.csv', ('file', 'label'), [*rows, ['gone.png', 'ant']])
    found = read_folder(home, skip_bad=True)
    check(found, [k for k in range(N) if k not in (4, 5)])
    assert dict(found.skipped) == {'gone.png': 'is missing', '05.png': 'has no label',
                                   '04.heic': 'is not listed in labels.csv'}


# Copies

def test_copies(home):
    "With different labels they are listed; they never stand on both sides of a split."
    rows = list(ROWS)
    for k in range(12):
        shutil.copy(home/f'{k:02}.png', home/f'again{k:02}.png')
        rows.append([f'again{k:02}.png', CLASSES[(k + (k < 6)) % 3]])
    write(home/'labels.csv', ('file', 'label'), rows)
    found = read_folder(home)
    assert len(found.conflicts) == 6 and '12 of 36 images are copies' in said(found)
    assert found.conflicts[0] == [('00.png', 'ant'), ('again00.png', 'bee')]
    for seed in range(5):
        parts = split(found.data, seed, .3)
        both = set(parts.train.group.tolist()) & set(parts.val.group.tolist())
        assert not both and len(parts.train)+len(parts.val) == 36

def test_copies_in_the_test_set(home):
    write(home/'labels.csv', ('file', 'label', 'split'), [(*r, 'train') for r in ROWS])
    shutil.copy(home/'00.png', home/'new.png')
    with open(home/'labels.csv', 'a') as f: f.write('new.png,ant,test\n')
    assert '1 of 1 test images are copies of training images' in said(read_folder(home))

def test_ordinary_folder_says_nothing(home):
    "What is in order is read without a word."
    write(home/'labels.csv', ('file', 'label'), ROWS)
    (home/'.DS_Store').write_bytes(b'x')
    (home/'__MACOSX').mkdir()
    Image.fromarray(picture(1)).save(home/'__MACOSX'/'00.png')
    found = read_folder(home)
    check(found)
    assert not found.notes and not found.skipped and not found.conflicts
    assert torch.equal(read_folder(home).data.train.x, found.data.train.x)


# The classifier keeps to it

def features(seed=0, n=60):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4)), np.arange(n) % 3

def test_held_out_as_given():
    "Examples that are not trained on are those that the user names."
    from sgn_nb import SGNClassifier
    x, y = features()
    mask = np.arange(60) % 5 == 0
    clf = SGNClassifier(epochs=1).fit(x, y, held_out=mask)
    assert (clf.labels_['held_out'].numpy() == mask).all()
    assert (clf.labels_['given'].numpy() == y).all()
    with pytest.raises(ValueError, match='held_out must hold 60 booleans'):
        SGNClassifier(epochs=1).fit(x, y, held_out=[1, 2])

def test_copies_are_held_out_together():
    from sgn_nb import SGNClassifier
    x, y = features()
    twice = np.concatenate([x, x])
    clf = SGNClassifier(epochs=1, val_share=.3).fit(twice, np.concatenate([y, y]))
    held_out = clf.labels_['held_out']
    assert (held_out[:60] == held_out[60:]).all() and held_out.any() and not held_out.all()

def test_few_images_make_a_small_batch(home, tmp_path, capsys):
    "Less than a usual batch of images is trained on all the same, and the table's split is kept."
    from sgn_nb.apps.cli import main_train
    for k in range(N): Image.fromarray(picture(k).repeat(2, 0).repeat(2, 1)).save(home/f'{k:02}.png')
    rows = [(f, l, k % 4 == 0) for k, (f, l) in enumerate(ROWS)]
    write(home/'labels.csv', ('file', 'label', 'is_valid'), rows)
    (home/'07.png').write_bytes(b'')
    out = tmp_path/'runs'
    main_train(['--dataset', str(home), '--skip-bad', '--epochs', '1', '--method', 'ce',
                '--device', 'cpu', '--out', str(out)])
    said = capsys.readouterr().out
    assert 'Read 17 images of 16×16 pixels and 6 for validation, 3 classes' in said
    assert "'is_valid' is read as a split" in said and '07.png is empty' in said
    assert (out/'skipped.csv').read_text() == 'file,reason\n07.png,is empty\n'
