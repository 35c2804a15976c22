import gzip
import io
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disobey.data.dataset import DataSpec
from disobey.data.formats import files
from disobey.data.formats.files import from_path
from disobey.data.load import load, resolve
from disobey.errors import Refusal
from tests.support.refusals import refuses

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 5, 4), dtype=np.uint8)
LABELS = np.arange(60) % 3


def idx(array):
    array = np.asarray(array, dtype=np.uint8)
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_folder(path, images=IMAGES, labels=LABELS, suffix="", pack=lambda content: content):
    path.mkdir(exist_ok=True)
    for start in ("train", "t10k"):
        (path / f"{start}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
        (path / f"{start}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))
    return path


def refused(id, name, *parts):
    """Reading ``name`` is refused with this id; the message has three parts and names these values."""
    with refuses(id, "expected ", "; got ", "; try ", *parts):
        from_path(str(name))


def all_rows(data):
    """Inputs and labels of every split in the order of ids."""
    splits = [data.train, data.validation, data.test]
    order = np.argsort(np.concatenate([s.ids for s in splits]))
    return tuple(np.concatenate([getattr(s, key) for s in splits])[order] for key in ("inputs", "labels"))


# idx


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress)])
def test_idx_pairs_come_back(tmp_path, suffix, pack):
    data = from_path(str(idx_folder(tmp_path / "d", suffix=suffix, pack=pack)))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [54, 6, 60]
    inputs, labels = all_rows(data)
    assert (inputs[..., 0] == np.concatenate([IMAGES, IMAGES])).all()
    assert (labels == np.concatenate([LABELS, LABELS])).all()
    assert data.kind == "image"


def test_damaged_idx_files_are_refused(tmp_path):
    folder = idx_folder(tmp_path / "d")
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    whole = images.read_bytes()
    shapeless = (b"", whole[:3], b"PK" + whole, idx(LABELS))
    for id, contents in (("not-idx", shapeless), ("idx-size", (whole[:-1], whole + b"x"))):
        for content in contents:
            images.write_bytes(content)
            refused(id, folder, str(images))
    images.write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**31, 2**31))
    refused("idx-size", folder, "sizes (2147483648")
    images.write_bytes(whole)
    labels.write_bytes(idx(LABELS[:-1]))
    refused("row-counts", folder, "60 inputs and 59 labels")
    labels.unlink()
    refused("no-labels-file", folder, str(images))


def test_a_compressed_file_unfolds_no_further_than_it_says(tmp_path, monkeypatch):
    folder = idx_folder(tmp_path / "d", suffix=".gz", pack=gzip.compress)
    read = []
    real = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: read.append(size) or real(self, size))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES) + bytes(10**7)))
    refused("idx-size", folder, "got more")
    assert max(read) <= IMAGES.size + 1
    assert min(read) > 0
    whole = gzip.compress(idx(IMAGES))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(whole[: len(whole) // 2])
    refused("damaged-file", folder, "EOFError")


# npz


def test_npz_images_features_and_own_splits(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, inputs=IMAGES, labels=LABELS, classes=np.array(["x", "y", "z"]))
    data = from_path(str(file))
    assert data.classes == ("x", "y", "z")
    assert (all_rows(data)[0][..., 0] == IMAGES).all()
    features = RNG.normal(size=(60, 7))
    np.savez(file, x_train=features, y_train=LABELS[:, None], x_test=features[:9], y_test=LABELS[:9])
    data = from_path(str(file))
    assert data.kind == "features"
    assert data.train.inputs.dtype == np.float32
    assert len(data.test) == 9
    np.savez(file, inputs=features, labels=np.array(["b", "c", "a"] * 20))
    data = from_path(str(file))
    assert data.classes == ("a", "b", "c")
    assert all_rows(data)[1][:3].tolist() == [1, 2, 0]


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    ("arrays", "id", "part"),
    [
        ({"inputs": IMAGES}, "npz-names", "labels"),
        ({"pictures": IMAGES, "labels": LABELS}, "npz-names", "arrays pictures, labels"),
        ({"inputs": IMAGES, "labels": LABELS[:-1]}, "row-counts", "60 inputs and 59 labels"),
        ({"inputs": IMAGES / 255, "labels": LABELS}, "image-type", "float64"),
        ({"inputs": IMAGES.reshape(60, 1, 5, 4)[:, [0, 0, 0]], "labels": LABELS}, "image-channels", "transpose"),
        ({"inputs": IMAGES[:0], "labels": LABELS[:0]}, "no-examples", "none"),
        ({"inputs": np.full((60, 2), np.nan), "labels": LABELS}, "not-finite", "row 0"),
        ({"inputs": np.zeros((60, 2), complex), "labels": LABELS}, "image-type", "complex128"),
        ({"inputs": np.array([{}] * 60), "labels": LABELS}, "python-objects", "inputs.npy"),
        ({"inputs": IMAGES, "labels": LABELS / 1.0}, "label-type", "float64"),
        ({"inputs": IMAGES, "labels": LABELS - 1}, "negative-label", "-1 in row 0"),
        ({"inputs": IMAGES, "labels": LABELS, "classes": np.array(["a", "b"])}, "label-range", "labels 0 .. 1"),
        ({"inputs": IMAGES, "labels": LABELS * 0}, "one-class", "1 in 42"),
        ({"inputs": IMAGES, "labels": np.arange(60)}, "too-many-classes", "60 different labels"),
        ({"inputs": IMAGES, "labels": np.eye(60)}, "label-type", "shape (60, 60)"),
        ({"x": IMAGES, "y": LABELS, "x_test": IMAGES[:, :4], "y_test": LABELS}, "input-shapes", "(4, 4, 1)"),
        ({"x": IMAGES, "y": LABELS, "x_test": IMAGES, "y_test": LABELS + 1}, "unseen-class", "3"),
        ({"x": IMAGES, "y": LABELS, "x_test": np.zeros((60, 2)), "y_test": LABELS}, "split-kinds", "features"),
    ],
)
def test_npz_with_something_else_in_it_is_refused(tmp_path, arrays, id, part):
    file = tmp_path / "a.npz"
    file.write_bytes(npz(**arrays))
    refused(id, file, part)


def test_npz_headers_that_lie_and_broken_archives_are_refused(tmp_path):
    file = tmp_path / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 9)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inputs.npy", header.getvalue())
    refused("npz-size", file, "inputs.npy")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inputs.npy", b"no array")
    refused("not-npz", file, "numpy arrays")
    unclosed = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, "  # numpy tokenizes what it cannot parse
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inputs.npy", b"\x93NUMPY\x01\x00" + len(unclosed).to_bytes(2, "little") + unclosed)
    refused("not-npz", file, "numpy arrays")
    for content in (b"", b"PK", npz(inputs=IMAGES, labels=LABELS)[:-40]):
        file.write_bytes(content)
        refused("not-npz", file, "npz file")


# Folders and options


def test_what_is_no_data_is_refused_with_a_hint(tmp_path):
    refused("no-file", tmp_path / "none.csv")
    refused("file-format", tmp_path, "docs/guides/data.md")
    (tmp_path / "a.pkl").write_bytes(b"")
    refused("file-format", tmp_path / "a.pkl", "'.pkl'")
    (tmp_path / "test.csv").write_text("text,label\na,b\n")
    refused("no-train-file", tmp_path, "splits test")
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    (tmp_path / "train.tsv").write_text("text\tlabel\na\tb\n")
    refused("two-files", tmp_path, "train.csv")
    (tmp_path / "state.json").write_text("{}")
    refused("saved-by-datasets", tmp_path, f"try hub:{tmp_path}")


@pytest.mark.parametrize(
    ("tail", "id"),
    [
        ("size=x", "option-range"),
        ("size=-1", "option-range"),
        ("size=99999", "option-range"),
        ("colour=red", "data-option"),
        ("label=", "data-option"),
        ("tokens=byte", "token-level"),
        ("=x", "data-option"),
    ],
)
def test_options_that_mean_nothing_are_refused(tail, id):
    refused(id, f"x.csv#{tail}")


def test_fashion_mnist_where_debian_puts_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FASHION_MNIST", tmp_path / "none")
    with refuses("no-fashion-mnist", "apt install dataset-fashion-mnist"):
        files.fashion_mnist()
    labels = np.arange(60) % 10
    monkeypatch.setattr(
        files, "FASHION_MNIST", idx_folder(tmp_path / "f", labels=labels, suffix=".gz", pack=gzip.compress)
    )
    data = files.fashion_mnist()
    assert data.classes[9] == "Ankle boot"
    assert data.name == "fashion-mnist"


# Pictures

PIL = pytest.importorskip("PIL.Image")


def png(array, **options):
    content = io.BytesIO()
    PIL.fromarray(array).save(content, "PNG", **options)
    return content.getvalue()


def picture_folder(path, count=12, shape=(5, 4, 3), classes=("ant", "bee")):
    arrays = {}
    for c in classes:
        (path / c).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            arrays[c, i] = RNG.integers(0, 256, shape, dtype=np.uint8)
            (path / c / f"{i:03}.png").write_bytes(png(arrays[c, i]))
    return arrays


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4)])
def test_folders_of_pictures_come_back(tmp_path, shape):
    arrays = picture_folder(tmp_path, shape=shape)
    data = from_path(str(tmp_path))
    inputs, labels = all_rows(data)
    assert data.classes == ("ant", "bee")
    assert (inputs.squeeze() == np.stack(list(arrays.values()))).all()
    assert labels.tolist() == [0] * 12 + [1] * 12


def test_folders_with_their_own_test_split(tmp_path):
    picture_folder(tmp_path / "train")
    picture_folder(tmp_path / "test", count=4)
    data = from_path(str(tmp_path))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [22, 2, 8]
    picture_folder(tmp_path / "test", classes=("cow",))
    refused("class-folders", tmp_path, "ant, bee", "cow")


def test_sizes_are_made_equal_only_when_asked(tmp_path):
    picture_folder(tmp_path)
    (tmp_path / "bee" / "000.png").write_bytes(png(np.full((30, 50, 3), 77, np.uint8)))
    refused("picture-sizes", tmp_path, "#size=32")
    data = from_path(f"{tmp_path}#size=6")
    inputs, _ = all_rows(data)
    assert inputs.shape[1:] == (6, 6, 3)
    assert (inputs[12] == 77).all()


def test_bad_pictures_are_refused(tmp_path, monkeypatch):
    picture_folder(tmp_path)
    file = tmp_path / "ant" / "000.png"
    whole = file.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        file.write_bytes(content)
        refused("not-a-picture", tmp_path, str(file))
    header = struct.pack(">2I5B", 100_000, 100_000, 8, 2, 0, 0, 0)  # claims 10^10 pixels in 60 bytes
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    file.write_bytes(bomb + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    refused("not-a-picture", tmp_path, str(file))
    file.write_bytes(png(np.zeros((4097, 4097), np.uint8)))
    refused("huge-picture", tmp_path, "4097 x 4097")
    PIL.fromarray(np.zeros((5, 4), np.uint16)).save(file)
    refused("picture-mode", tmp_path, "8 bits")
    file.write_bytes(png(np.zeros((5, 4), np.uint8)))
    refused("picture-mode", tmp_path, "grey")
    file.write_bytes(whole)
    monkeypatch.setattr("disobey.data.formats.images.MAX_BYTES", 100)
    refused("too-large", tmp_path, "24 of (5, 4, 3)")


# Any bytes: a data set or a refusal

BASES = {
    "a.npz": npz(inputs=IMAGES, labels=LABELS),
    "a.csv": b"text,label\n" + b"".join(b"sun %d,%d\n" % (i, i % 2) for i in range(40)),
    "a.jsonl": b"".join(b'{"text": "sun %d", "label": %d}\n' % (i, i % 2) for i in range(40)),
    "d/train-images-idx3-ubyte": idx(IMAGES),
    "d/train-labels-idx1-ubyte": idx(LABELS),
    "p/ant/000.png": png(IMAGES[0]),
}


def mutated(draw_positions, content):
    content = bytearray(content)
    for position, value in draw_positions:
        content[position % len(content)] = value
    return bytes(content)


mutations = st.tuples(
    st.sampled_from(sorted(BASES)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    st.integers(0, 5),
)


def try_mutation(folder, mutation):
    name, positions, cut = mutation
    content = mutated(positions, BASES[name])
    if cut == 0:
        content = content[: sum(position for position, _ in positions) % (len(content) + 1)]
    (folder / name).write_bytes(content)
    target = folder / name.split("/")[0] if "/" in name else folder / name
    try:
        data = from_path(str(target))
        assert len(np.unique(data.train.labels)) >= 2
        assert len(data.train.inputs) == len(data.train.labels)
    except Refusal as refusal:
        if not re.search("expected .*; got .*; try ", str(refusal)):
            raise
    finally:
        (folder / name).write_bytes(BASES[name])


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    idx_folder(folder / "d")
    picture_folder(folder / "p", shape=(5, 4))
    for name, content in BASES.items():
        (folder / name).write_bytes(content)
    return folder


@given(mutations)
@settings(max_examples=400, deadline=None)
def test_mutated_files_are_read_or_refused(fuzz_folder, mutation):
    try_mutation(fuzz_folder, mutation)


@pytest.mark.slow
@given(mutations)
@settings(max_examples=20_000, deadline=None)
def test_twenty_thousand_mutated_files_are_read_or_refused(fuzz_folder, mutation):
    try_mutation(fuzz_folder, mutation)


def test_load_takes_paths(tmp_path):
    spec = resolve(DataSpec(str(idx_folder(tmp_path / "d")), train=30, noise=0.1, noise_kind="class"))
    data = load(spec, 0)
    assert len(data.train) == 30
    assert data.train.mislabelled.sum() == 3
