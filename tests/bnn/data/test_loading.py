import bz2
import dataclasses
import gzip
import hashlib
import http.server
import io
import lzma
import os
import runpy
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import bnn
from bnn.cli.command import parser_of
from bnn.data import loading as data
from bnn.data.images import DataSet, ImageSet

ROOT = Path(__file__).parents[3]

COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


# --- Small stand-ins for the published files ------------------------------------------------------------------------


def idx(array):
    """An idx file, written from its description: 0, 0, type 8, axes, big-endian lengths, bytes."""
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.astype(np.uint8).tobytes()


@dataclasses.dataclass(frozen=True)
class Stand:
    """A small data set under a published name: its arrays and the contents of its files."""

    name: str
    train: tuple
    test: tuple
    contents: dict

    @property
    def origin(self):
        return data.ORIGINS[self.name]

    def write(self, folder, suffix=".gz"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, contents in self.contents.items():
            (folder / (file + suffix)).write_bytes(COMPRESS[suffix](contents))
        return folder


def random_images(rng, n, *shape):
    return rng.integers(0, 256, size=(n, *shape), dtype=np.uint8), rng.integers(0, 10, size=n)


def stand_in(monkeypatch, name, train, test, contents, url=None):
    """Put sizes and checksums of `contents` (and a URL) in the place of the published ones."""
    origin = data.ORIGINS[name]
    assert [file.name for file in origin.files] == list(contents)
    files = tuple(
        data.DataFile(file.name, len(body), hashlib.sha256(body).hexdigest(), file.url)
        for file, body in zip(origin.files, contents.values(), strict=True)
    )
    monkeypatch.setattr(data, "ORIGINS", {**data.ORIGINS, name: dataclasses.replace(origin, files=files)})
    return Stand(name, train, test, contents)


@pytest.fixture
def mnist(monkeypatch):
    rng = np.random.default_rng(1)
    train, test = random_images(rng, 30, 28, 28), random_images(rng, 20, 28, 28)
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    contents = dict(zip(names, map(idx, (*train, *test)), strict=True))
    return stand_in(monkeypatch, "mnist", train, test, contents)


@pytest.fixture
def cifar10(monkeypatch):
    rng = np.random.default_rng(2)
    train, test = random_images(rng, 50, 3, 32, 32), random_images(rng, 10, 3, 32, 32)
    records = [
        b"".join(bytes([label]) + image.tobytes() for image, label in zip(*half, strict=True)) for half in (train, test)
    ]
    batch = 10 * 3073
    contents = {f"data_batch_{i + 1}.bin": records[0][i * batch : (i + 1) * batch] for i in range(5)}
    return stand_in(monkeypatch, "cifar10", train, test, {**contents, "test_batch.bin": records[1]})


def cifar100_records(images, coarse, fine):
    parts = zip(images, coarse, fine, strict=True)
    return b"".join(bytes([first, second]) + image.tobytes() for image, first, second in parts)


@pytest.fixture
def cifar100(monkeypatch):
    """The same files under both names: the stand-in with fine labels, and the one with coarse ones."""
    rng = np.random.default_rng(3)
    halves = [(random_images(rng, n, 3, 32, 32)[0], rng.permutation(20)[:n], rng.permutation(100)[:n]) for n in (15, 9)]
    contents = dict(zip(("train.bin", "test.bin"), (cifar100_records(*half) for half in halves), strict=True))
    (train, *train_labels), (test, *test_labels) = halves
    coarse, fine = (
        stand_in(monkeypatch, name, (train, train_labels[which]), (test, test_labels[which]), contents)
        for which, name in enumerate(("cifar100-coarse", "cifar100"))
    )
    return fine, coarse


MAT_CLASSES = {"uint8": (9, 2), "int16": (10, 3), "float64": (6, 9)}  # MATLAB's class, and the type of what is stored


def mat_element(kind, body):
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def mat(*, compress=True, **arrays):
    """A MATLAB 5 file, written from MathWorks' description of the format: header, then a matrix for each array."""
    file = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    for name, array in arrays.items():
        matlab_class, stored = MAT_CLASSES[str(array.dtype)]
        parts = [
            (6, struct.pack("<II", matlab_class, 0)),
            (5, struct.pack(f"<{array.ndim}i", *array.shape)),
            (1, name.encode()),
            (stored, array.tobytes(order="F")),
        ]
        element = mat_element(14, b"".join(mat_element(*part) for part in parts))
        file += struct.pack("<II", 15, len(body := zlib.compress(element))) + body if compress else element
    return file


def svhn_file(images, labels, **changes):
    """One file of SVHN, of images (n, 3, 32, 32) and the digits in them: what is a 0 is labelled 10."""
    return mat(X=images.transpose(2, 3, 1, 0), y=np.where(labels == 0, 10, labels).astype(np.uint8)[:, None], **changes)


@pytest.fixture
def svhn(monkeypatch):
    rng = np.random.default_rng(4)
    train, test = ((random_images(rng, n, 3, 32, 32)[0], rng.permutation(n) % 10) for n in (40, 30))  # every digit
    contents = {"train_32x32.mat": svhn_file(*train), "test_32x32.mat": svhn_file(*test, compress=False)}
    return stand_in(monkeypatch, "svhn", train, test, contents)


def assert_loaded(loaded, stand):
    for half, (images, labels) in ((loaded.train, stand.train), (loaded.test, stand.test)):
        np.testing.assert_array_equal(half.images, images.reshape(half.images.shape))
        np.testing.assert_array_equal(half.labels, labels)


# --- Digits ---------------------------------------------------------------------------------------------------------


def test_digits_are_the_published_images():
    digits = data.load("digits")
    assert len(digits.train) == 1198
    assert len(digits.test) == 599
    assert digits.train.images.shape[1:] == (1, 8, 8)
    assert digits.train.full_scale == 16
    assert digits.class_names == tuple("0123456789")
    assert "10.24432/C50P49" in digits.source
    assert "CC BY 4.0" in digits.source
    images = np.concatenate([digits.train.images, digits.test.images])
    assert images.min() == 0
    assert images.max() == 16
    per_class = np.bincount(np.concatenate([digits.train.labels, digits.test.labels]))
    np.testing.assert_array_equal(per_class, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])


def test_digits_are_split_disjointly_and_completely():
    digits, original = data.load("digits"), load_digits()
    originals = [
        (label, image.astype(np.uint8).tobytes()) for image, label in zip(original.images, original.target, strict=True)
    ]
    assert len(set(originals)) == 1797, "no image occurs twice, so that counting them below means something"
    parts = [
        [(label, image.tobytes()) for image, label in zip(half.images, half.labels, strict=True)]
        for half in (digits.train, digits.test)
    ]
    assert not set(parts[0]) & set(parts[1])
    assert sorted(parts[0] + parts[1]) == sorted(originals)


def test_digits_split_gives_each_class_two_thirds():
    digits = data.load("digits")
    train, test = np.bincount(digits.train.labels), np.bincount(digits.test.labels)
    assert np.all(np.abs(train - 2 / 3 * (train + test)) < 1)


def test_digits_and_their_split_stay_what_they_are():
    # Written down when the file was made: every result that quotes it depends on it.
    assert data.load("digits").identity == "0b86b59aa560ab7efc1396fc1d6aa6eacdc2288f2652e5a5da3fcb3c04e04d24"


def test_the_script_reproduces_the_shipped_file():
    script = runpy.run_path(str(ROOT / "notebooks" / "data" / "make_digits.py"))
    assert script["digits_file"]() == (ROOT / "bnn" / "data" / "digits" / "digits.csv.bz2").read_bytes()


def test_digits_are_checked_too(monkeypatch):
    origin = data.ORIGINS["digits"]
    wrong = dataclasses.replace(origin, files=(dataclasses.replace(origin.files[0], sha256="0" * 64),))
    monkeypatch.setattr(data, "ORIGINS", {**data.ORIGINS, "digits": wrong})
    with pytest.raises(ValueError, match=r"digits\.csv\.bz2 has the wrong contents.*install mtj-bnn again"):
        data.load("digits")


@pytest.mark.parametrize("use", [data.load, data.fetch])
def test_digits_take_no_directory(use, tmp_path):
    with pytest.raises(ValueError, match="ship inside"):
        use("digits", tmp_path)


def test_importing_needs_neither_torch_nor_pooch():
    slow = "{'torch', 'pooch', 'tqdm', 'sklearn', 'scipy', 'PIL'}"
    program = f"import sys, bnn.data, bnn.data.imagenet; print(sorted({slow} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# --- Image sets -----------------------------------------------------------------------------------------------------


def image_set(labels, /, **changes):
    labels = np.asarray(labels, dtype=np.int64)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)  # a pixel that says which image it is
    return ImageSet(**{"images": images, "labels": labels, "name": "numbered", "full_scale": 255, **changes})


@pytest.mark.parametrize("full_scale", [1, 16, 255])
def test_scaled_maps_the_full_scale_to_plus_minus_one(full_scale):
    levels = np.arange(full_scale + 1, dtype=np.uint8)
    scaled = image_set(np.zeros(full_scale + 1), images=levels.reshape(-1, 1, 1, 1), full_scale=full_scale).scaled()
    assert scaled.dtype == np.float32
    assert scaled[0] == -1
    assert scaled[-1] == 1
    np.testing.assert_allclose(np.diff(scaled.ravel()), 2 / full_scale, rtol=1e-4)
    scaled[:] = 0  # it is the caller's own


@given(
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(lambda counts: sum(counts) >= 2),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_split_is_stratified_disjoint_and_complete(counts, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    wanted = round(share * len(labels))
    if wanted in (0, len(labels)):
        return
    everything = image_set(labels)
    first, second = everything.split(share, seed=seed)
    assert len(first) == wanted
    chosen, rest = first.images.ravel(), second.images.ravel()
    np.testing.assert_array_equal(np.sort(np.concatenate([chosen, rest])), np.arange(len(labels)))
    assert np.all(np.diff(chosen.astype(int)) > 0), "the original order is kept"
    np.testing.assert_array_equal(first.labels, labels[chosen])
    per_class = np.bincount(first.labels, minlength=len(counts))
    assert np.all(np.abs(per_class - share * np.array(counts)) < 1)


def test_split_follows_its_seed_and_nothing_else():
    everything = image_set(np.arange(200) % 10)
    first = everything.split(0.5, seed=3)[0].images
    np.random.seed(0)  # noqa: NPY002  the global stream is not looked at
    np.testing.assert_array_equal(everything.split(0.5, seed=3)[0].images, first)
    np.testing.assert_array_equal(everything.split(0.5, seed=np.random.SeedSequence(3))[0].images, first)
    assert not np.array_equal(everything.split(0.5, seed=4)[0].images, first)


def test_split_is_random_within_a_class():
    # 100 images of one class, half of them chosen, 200 seeds: an image is chosen Binomial(200, 1/2) times. Outside of
    # 100 +- 45 with probability 1e-10 (times 100 images); a choice that prefers the first images fails at once.
    everything = image_set(np.zeros(100))
    times = sum(np.bincount(everything.split(0.5, seed=seed)[0].images.ravel(), minlength=100) for seed in range(200))
    assert np.all(np.abs(times - 100) <= 45)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, 0.01, 0.99, float("nan")])
def test_split_refuses_an_empty_part(fraction):
    with pytest.raises(ValueError, match="leave images on both sides"):
        image_set([0, 1, 0, 1]).split(fraction, seed=0)


def test_split_refuses_to_be_unseeded():
    with pytest.raises(TypeError, match="seed must be an integer or a SeedSequence, got None"):
        image_set([0, 1]).split(0.5, seed=None)


def test_subset_takes_what_is_asked_for():
    chosen = image_set([5, 6, 7]).subset([2, 0, 0], name="few")
    np.testing.assert_array_equal(chosen.images.ravel(), [2, 0, 0])
    np.testing.assert_array_equal(chosen.labels, [7, 5, 5])
    assert chosen.name == "few"
    assert len(chosen) == 3
    assert image_set([5], full_scale=16).subset([0]).full_scale == 16


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([3], IndexError, "0 to 2, got 3"),
        ([-1], IndexError, "0 to 2, got -1"),
        ([True, False, True], TypeError, "np.flatnonzero"),
        ([0.0], TypeError, "float64"),
        ([[0]], TypeError, "one-dimensional"),
        (np.array([], dtype=int), ValueError, "none empty"),
    ],
)
def test_subset_refuses(indices, error, message):
    with pytest.raises(error, match=message):
        image_set([0, 1, 2]).subset(indices)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": np.zeros((3, 1, 1, 1))}, TypeError, "images must be an array of uint8, got float64"),
        ({"images": [[[[0]]]]}, TypeError, "images must be an array of uint8, got list"),
        ({"images": np.zeros((3, 1, 1), np.uint8)}, ValueError, r"\(n, channels, height, width\).*\(3, 1, 1\)"),
        ({"images": np.zeros((2, 1, 1, 1), np.uint8)}, ValueError, "labels must be one for each image, got 3 for 2"),
        ({"labels": np.zeros(3, np.int32)}, TypeError, "labels must be an array of int64, got int32"),
        ({"labels": np.zeros((3, 1), np.int64)}, ValueError, r"labels must have the axes \(n\)"),
        ({"labels": np.array([0, -1, 0])}, ValueError, "labels must be >= 0, got -1"),
        ({"full_scale": 0}, ValueError, "full_scale must be 1 to 255, got 0"),
        ({"full_scale": 1}, ValueError, "full_scale=1, got a pixel of 2"),
    ],
)
def test_image_set_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        image_set([0, 1, 2], **changes)


def test_image_set_cannot_be_changed_under_its_identity():
    images = image_set([0, 1, 2])
    with pytest.raises(ValueError, match="read-only"):
        images.images[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        images.labels[0] = 7


def test_identity_is_about_contents():
    one = image_set([0, 1, 2])
    assert one.identity == image_set([0, 1, 2], name="another").identity
    others = [
        image_set([0, 1, 3]),
        image_set([0, 1, 2], full_scale=254),
        image_set([0, 1, 2], images=np.array([0, 1, 3], np.uint8).reshape(3, 1, 1, 1)),
        image_set([0, 1]),
    ]
    reshaped = [image_set([0, 1], images=np.zeros((2, 1, *shape), np.uint8)) for shape in ((2, 3), (3, 2))]
    assert len({images.identity for images in (one, *others, *reshaped)}) == 7
    sets = [
        DataSet("x", train, test, names, "nowhere")
        for train, test, names in (
            (one, others[0], tuple("abcd")),
            (others[0], one, tuple("abcd")),
            (one, others[0], tuple("abce")),
        )
    ]
    assert len({each.identity for each in sets}) == 3


def test_data_set_refuses_halves_that_do_not_fit():
    with pytest.raises(ValueError, match="equal image shapes and full scales"):
        DataSet("x", image_set([0]), image_set([0], full_scale=16), ("a",), "nowhere")
    with pytest.raises(ValueError, match="below the 2 class names, got 2"):
        DataSet("x", image_set([0]), image_set([2]), ("a", "b"), "nowhere")


# --- Files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESS)
def test_recompressed_copies_load(mnist, tmp_path, suffix):
    loaded = data.load("mnist", mnist.write(tmp_path, suffix))
    assert_loaded(loaded, mnist)
    assert loaded.train.images.shape == (30, 1, 28, 28)
    assert loaded.test.name == "mnist/test"


@pytest.mark.parametrize("suffix", COMPRESS)
def test_recompressed_cifar_loads(cifar10, tmp_path, suffix):
    loaded = data.load("cifar10", str(cifar10.write(tmp_path, suffix)))
    assert_loaded(loaded, cifar10)
    assert loaded.train.images.shape == (50, 3, 32, 32)
    assert loaded.class_names[3] == "cat"


@pytest.mark.parametrize("suffix", COMPRESS)
def test_recompressed_cifar100_loads(cifar100, tmp_path, suffix):
    fine, coarse = cifar100
    fine.write(tmp_path / "cifar-100-binary", suffix)
    for stand, classes, name in ((fine, 100, "caterpillar"), (coarse, 20, "reptiles")):
        loaded = data.load(stand.name, tmp_path)
        assert_loaded(loaded, stand)
        assert loaded.train.images.shape == (15, 3, 32, 32)
        assert loaded.train.name == f"{stand.name}/train"
        assert len(set(loaded.class_names)) == classes
        assert loaded.class_names[{100: 18, 20: 15}[classes]] == name
        assert list(loaded.class_names) == sorted(loaded.class_names)
    assert data.load("cifar100", tmp_path).identity != data.load("cifar100-coarse", tmp_path).identity


@pytest.mark.parametrize("suffix", COMPRESS)
def test_recompressed_svhn_loads(svhn, tmp_path, suffix):
    loaded = data.load("svhn", svhn.write(tmp_path, suffix))
    assert_loaded(loaded, svhn)
    assert loaded.train.images.shape == (40, 3, 32, 32)
    assert loaded.class_names == tuple("0123456789")


@pytest.mark.parametrize(
    ("damage", "trouble"),
    [
        (lambda body: body[:-1], "wrong size"),
        (lambda body: body + b"x", "wrong size"),
        (lambda body: b"", "wrong size"),
        (lambda body: body[:-50] + bytes([body[-50] ^ 1]) + body[-49:], "wrong contents"),
    ],
    ids=["truncated", "longer", "empty", "a bit"],
)
def test_each_file_of_cifar100_and_svhn_is_checked(cifar100, svhn, tmp_path, damage, trouble):
    for stand in (*cifar100, svhn):
        for file, contents in stand.contents.items():
            path = stand.write(tmp_path / stand.name, "") / file
            path.write_bytes(damage(contents))
            with pytest.raises(ValueError, match=f"{file} has the {trouble}.*`mtj-bnn fetch {stand.name}`"):
                data.load(stand.name, tmp_path / stand.name)


@pytest.mark.parametrize(("name", "labels"), [("cifar100", (0, 100)), ("cifar100-coarse", (20, 0))])
def test_cifar100_labels_out_of_range(monkeypatch, tmp_path, name, labels):
    images = random_images(np.random.default_rng(5), 2, 3, 32, 32)[0]
    good, bad = (cifar100_records(images, [0, last[0]], [0, last[1]]) for last in ((0, 0), labels))
    for train, test in ((good, bad), (bad, good)):
        stand = stand_in(monkeypatch, name, (), (), {"train.bin": train, "test.bin": test})
        with pytest.raises(ValueError, match=f"below the {max(labels)} class names, got {max(labels)}"):
            data.load(name, stand.write(tmp_path))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_record_of_another_length(monkeypatch, tmp_path, name):
    contents = {file.name: bytes(3072) for file in data.ORIGINS[name].files}
    stand = stand_in(monkeypatch, name, (), (), contents)
    with pytest.raises(ValueError, match=r"records of 3,07[34] bytes, got 3,072 bytes in all"):
        data.load(name, stand.write(tmp_path))


X, Y = np.zeros((32, 32, 3, 2), np.uint8), np.array([[1], [10]], np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X, "y": np.array([[1], [0]], np.uint8)}, "y must be 1 to 10, .*got 0"),
        ({"X": X, "y": np.array([[11], [1]], np.uint8)}, "y must be 1 to 10, .*got 11"),
        ({"X": X, "y": np.array([[1.5], [1]])}, "y must be 1 to 10, .*got 1.5"),
        ({"X": X, "y": Y[:1]}, r"y must have the shape \(2, 1\), got \(1, 1\)"),
        ({"X": X, "y": Y.T}, r"y must have the shape \(2, 1\), got \(1, 2\)"),
        ({"X": X.astype(np.int16), "y": Y}, "X must be uint8 .*got int16"),
        ({"X": X[:31], "y": Y}, r"X must be uint8 of shape \(32, 32, 3, n\), got uint8 of shape \(31, 32, 3, 2\)"),
        ({"X": X[..., 0], "y": Y}, r"got uint8 of shape \(32, 32, 3\)"),
        ({"X": X}, "must hold X and y, but has no y"),
        ({"x": X, "y": Y}, "but has no X"),
    ],
)
def test_svhn_of_another_structure(monkeypatch, tmp_path, arrays, message):
    good, bad = mat(X=X, y=Y), mat(**arrays)
    for train, test in ((good, bad), (bad, good)):
        stand = stand_in(monkeypatch, "svhn", (), (), {"train_32x32.mat": train, "test_32x32.mat": test})
        with pytest.raises(ValueError, match=message):
            data.load("svhn", stand.write(tmp_path))


def test_svhn_labels_may_be_doubles(monkeypatch, tmp_path):
    contents = {"train_32x32.mat": mat(X=X, y=Y.astype(float)), "test_32x32.mat": mat(X=X, y=Y)}
    stand = stand_in(monkeypatch, "svhn", (), (), contents)
    loaded = data.load("svhn", stand.write(tmp_path))
    np.testing.assert_array_equal(loaded.train.labels, [1, 0])
    assert loaded.train.labels.dtype == loaded.test.labels.dtype == np.int64


def test_suffixes_may_differ_from_file_to_file(mnist, tmp_path):
    for suffix, (file, contents) in zip(COMPRESS, mnist.contents.items(), strict=True):
        (tmp_path / (file + suffix)).write_bytes(COMPRESS[suffix](contents))
    assert_loaded(data.load("mnist", tmp_path), mnist)


def test_parent_folder_is_accepted(mnist, cifar10, tmp_path):
    mnist.write(tmp_path / "mnist")
    cifar10.write(tmp_path / "cifar-10-batches-bin")
    assert_loaded(data.load("mnist", tmp_path), mnist)
    assert_loaded(data.load("cifar10", tmp_path), cifar10)


def test_sub_folder_goes_before_equally_named_files(mnist, monkeypatch, tmp_path):
    other = {file: contents + b"x" for file, contents in mnist.contents.items()}
    fashion = stand_in(monkeypatch, "fashion-mnist", mnist.train, mnist.test, other)
    mnist.write(tmp_path)
    fashion.write(tmp_path / "fashion-mnist")
    assert data.fetch("fashion-mnist", tmp_path) == tmp_path / "fashion-mnist"
    assert data.fetch("mnist", tmp_path) == tmp_path


def test_cache_folder_is_the_default(mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("MTJ_BNN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"download cache .*`mtj-bnn fetch mnist`, or pass directory="):
        data.load("mnist")
    mnist.write(tmp_path / "mnist")
    assert_loaded(data.load("mnist"), mnist)


def test_without_the_variable_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("MTJ_BNN_DATA", "")
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    with pytest.raises(FileNotFoundError, match=r"download cache .*mtj-bnn or its sub-folder mnist "):
        data.load("mnist")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_truncated_file(mnist, tmp_path, suffix):
    file = "t10k-images-idx3-ubyte"
    path = mnist.write(tmp_path, suffix) / (file + suffix)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="mtj-bnn fetch mnist") as caught:
        data.load("mnist", tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert ("is truncated or corrupt" if suffix else "has the wrong size") in message
    assert hashlib.sha256(mnist.contents[file]).hexdigest() in message
    if not suffix:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in message
        assert "Delete the file" in message


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_truncated_by_a_byte(mnist, tmp_path, suffix):
    # All the contents come out; what is lost is the compression's own closing mark.
    path = mnist.write(tmp_path, suffix) / ("t10k-images-idx3-ubyte" + suffix)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is truncated or corrupt"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
@pytest.mark.parametrize("place", ["beginning", "middle"])
def test_garbled_file(mnist, tmp_path, suffix, place):
    path = mnist.write(tmp_path, suffix) / ("train-images-idx3-ubyte" + suffix)
    body = bytearray(path.read_bytes())
    start = 0 if place == "beginning" else len(body) // 2
    body[start : start + 64] = b"U" * 64
    path.write_bytes(body)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.* is truncated or corrupt"):
        data.load("mnist", tmp_path)


def test_wrong_contents(mnist, tmp_path):
    path = mnist.write(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    right = mnist.contents["t10k-labels-idx1-ubyte"]
    wrong = right[:-1] + bytes([(right[-1] + 1) % 10])
    path.write_bytes(gzip.compress(wrong))
    with pytest.raises(ValueError, match="has the wrong contents") as caught:
        data.load("mnist", tmp_path)
    for digest in (hashlib.sha256(right).hexdigest(), hashlib.sha256(wrong).hexdigest()):
        assert digest in str(caught.value)


def test_files_of_another_data_set_are_recognised(mnist, tmp_path):
    mnist.write(tmp_path)
    with pytest.raises(ValueError, match=r"\(that is train-images-idx3-ubyte of mnist\)"):
        data.load("fashion-mnist", tmp_path)


def test_missing_file(mnist, tmp_path):
    (mnist.write(tmp_path) / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", tmp_path)
    message = str(caught.value)
    assert "no train-labels-idx1-ubyte in" in message
    assert str(tmp_path) in message
    assert all(suffix in message for suffix in COMPRESS)
    assert "train-images" not in message


def test_missing_everything_says_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"in {tmp_path} or its sub-folder cifar-10-batches-bin "):
        data.load("cifar10", tmp_path)


def test_missing_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' does not exist"):
        data.load("mnist", tmp_path / "nowhere")


@pytest.mark.parametrize("use", [data.load, data.fetch])
def test_directory_that_is_a_file(use, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="directory must be a folder"):
        use("mnist", tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("fashion", "fashion-mnist"),
        ("MNIST", "mnist"),
        ("cifar-10", "cifar10"),
        ("cifar-100", "cifar100"),
        ("SVHN", "svhn"),
    ],
)
@pytest.mark.parametrize("use", [data.load, data.fetch])
def test_unknown_name(use, name, nearest):
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}'") as caught:
        use(name)
    assert all(repr(valid) in str(caught.value) for valid in ("digits", "mnist", "fashion-mnist", "cifar10"))


def test_unknown_name_like_nothing():
    with pytest.raises(ValueError, match=r"got 'zzz'\.$"):
        data.load("zzz")


# --- Downloads ------------------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """Serves the bytes in `bodies` on the loopback interface, and writes down what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies, self.asked = {}, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def serve(monkeypatch, stand, host, archive=None):
    """Let the table point to `host`; with `archive` all files are in one."""
    files = tuple(
        dataclasses.replace(file, url=f"{host}/{archive or file.name + '.gz'}") for file in stand.origin.files
    )
    origin = dataclasses.replace(stand.origin, files=files)
    monkeypatch.setattr(data, "ORIGINS", {**data.ORIGINS, stand.name: origin})


def tar_gz(contents):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, body in {"readme.html": b"hello", "../outside.bin": b"evil", **contents}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def served_mnist(monkeypatch, server, mnist):
    serve(monkeypatch, mnist, server.url)
    server.bodies = {f"/{file}.gz": gzip.compress(contents) for file, contents in mnist.contents.items()}
    return mnist


@pytest.fixture
def served_cifar10(monkeypatch, server, cifar10):
    serve(monkeypatch, cifar10, server.url, archive="cifar-10-binary.tar.gz")
    server.bodies = {"/cifar-10-binary.tar.gz": tar_gz(cifar10.contents)}
    return cifar10


def test_fetch_then_load(served_mnist, server, tmp_path, capsys):
    folder = data.fetch("mnist", tmp_path / "new")
    assert folder == tmp_path / "new" / "mnist"
    assert names_in(tmp_path) == sorted(f"new/mnist/{file}.gz" for file in served_mnist.contents)
    assert_loaded(data.load("mnist", tmp_path / "new"), served_mnist)
    assert_loaded(data.load("mnist", folder), served_mnist)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "%" not in captured.err, "no progress bar where there is no terminal"
    server.asked.clear()
    assert data.fetch("mnist", tmp_path / "new") == folder
    assert data.fetch("mnist", folder) == folder
    assert server.asked == [], "already here and verified"


def test_fetch_into_the_cache(served_mnist, monkeypatch, tmp_path):
    monkeypatch.setenv("MTJ_BNN_DATA", str(tmp_path))
    assert data.fetch("mnist") == tmp_path / "mnist"
    assert_loaded(data.load("mnist"), served_mnist)


def test_fetch_an_archive(served_cifar10, server, tmp_path):
    folder = data.fetch("cifar10", tmp_path)
    assert folder == tmp_path / "cifar-10-batches-bin"
    assert names_in(tmp_path) == [f"cifar-10-batches-bin/{file}" for file in served_cifar10.contents]
    assert server.asked == ["/cifar-10-binary.tar.gz"], "one download for six files"
    assert_loaded(data.load("cifar10", tmp_path), served_cifar10)


def test_fetch_cifar100_under_either_name(monkeypatch, cifar100, server, tmp_path):
    for stand in cifar100:
        serve(monkeypatch, stand, server.url, archive="cifar-100-binary.tar.gz")
    server.bodies = {"/cifar-100-binary.tar.gz": tar_gz(cifar100[0].contents)}
    folder = data.fetch("cifar100-coarse", tmp_path)
    assert names_in(tmp_path) == ["cifar-100-binary/test.bin", "cifar-100-binary/train.bin"]
    assert data.fetch("cifar100", tmp_path) == folder
    assert server.asked == ["/cifar-100-binary.tar.gz"], "the files are the same"
    for stand in cifar100:
        assert_loaded(data.load(stand.name, tmp_path), stand)


def test_fetch_svhn(svhn, tmp_path):
    asked = []

    def copy(url, path):
        asked.append(url)
        path.write_bytes(svhn.contents[path.name])

    assert data.fetch("svhn", tmp_path, download=copy) == tmp_path / "svhn"
    assert asked == [f"http://ufldl.stanford.edu/housenumbers/{file}" for file in svhn.contents]
    assert_loaded(data.load("svhn", tmp_path), svhn)
    with pytest.raises(ValueError, match=r"train_32x32\.mat from http:.*Nothing of it was kept"):
        data.fetch("svhn", tmp_path / "other", download=lambda url, path: path.write_bytes(b"<html>"))
    assert names_in(tmp_path / "other") == []


@pytest.mark.parametrize("use", [data.load, data.fetch])
def test_imagenet_says_why_not(use, tmp_path):
    with pytest.raises(ValueError, match=r"registered users only.*bnn\.open_imagenet") as caught:
        use("imagenet", tmp_path)
    assert hasattr(bnn, "open_imagenet")
    assert "train/<wnid>/" in str(caught.value)


def test_fetch_gets_only_what_is_missing_or_damaged(served_mnist, server, tmp_path):
    served_mnist.write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    assert data.fetch("mnist", tmp_path) == tmp_path
    assert server.asked == ["/train-labels-idx1-ubyte.gz", "/t10k-labels-idx1-ubyte.gz"]
    assert_loaded(data.load("mnist", tmp_path), served_mnist)


def test_fetch_keeps_a_recompressed_copy(served_mnist, server, tmp_path):
    served_mnist.write(tmp_path, ".xz")
    data.fetch("mnist", tmp_path)
    assert server.asked == []


def test_fetch_does_not_delete_what_it_did_not_write(served_mnist, server, tmp_path):
    served_mnist.write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").rename(
        tmp_path / "train-labels-idx1-ubyte"
    )  # compressed, unlike its name
    with pytest.raises(ValueError, match="Delete the file"):
        data.fetch("mnist", tmp_path)
    assert server.asked == []
    assert (tmp_path / "train-labels-idx1-ubyte").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[: len(body) // 2],
        lambda body: b"<html>not here</html>",
        lambda body: gzip.compress(b"something else"),
    ],
    ids=["truncated", "page", "other contents"],
)
def test_corrupt_download_leaves_nothing(served_mnist, server, tmp_path, damage):
    server.bodies["/train-images-idx3-ubyte.gz"] = damage(server.bodies["/train-images-idx3-ubyte.gz"])
    with pytest.raises(ValueError, match=rf"train-images-idx3-ubyte from {server.url}/.*Nothing of it was kept"):
        data.fetch("mnist", tmp_path)
    assert names_in(tmp_path) == []


def test_corrupt_download_leaves_the_good_ones(served_mnist, server, tmp_path):
    server.bodies["/t10k-labels-idx1-ubyte.gz"] = b""
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte from"):
        data.fetch("mnist", tmp_path)
    assert names_in(tmp_path / "mnist") == sorted(f"{file}.gz" for file in list(served_mnist.contents)[:3])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda contents: tar_gz(contents)[:-5000], "truncated or corrupt"),
        (lambda contents: b"<html>not here</html>", "truncated or corrupt"),
        (lambda contents: tar_gz({**contents, "data_batch_3.bin": b"x"}), "data_batch_3.bin from .* wrong size"),
        (lambda contents: tar_gz({k: v for k, v in contents.items() if k != "test_batch.bin"}), "hold test_batch.bin"),
    ],
    ids=["truncated", "page", "other contents", "incomplete"],
)
def test_corrupt_archive_leaves_nothing(served_cifar10, server, tmp_path, damage, message):
    server.bodies["/cifar-10-binary.tar.gz"] = damage(served_cifar10.contents)
    with pytest.raises(ValueError, match=message):
        data.fetch("cifar10", tmp_path)
    assert names_in(tmp_path) == []


def test_fetch_without_a_network(monkeypatch, mnist, tmp_path):
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as free:  # bound and not listening: nobody answers here
        free.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{free.getsockname()[1]}"
        serve(monkeypatch, mnist, host)
        with pytest.raises(ConnectionError, match=f"{host}/train-images-idx3-ubyte.gz could not .*directory="):
            data.fetch("mnist", tmp_path)
    assert names_in(tmp_path) == []


def test_fetch_what_the_host_does_not_have(served_mnist, server, tmp_path):
    server.bodies.clear()
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(404"):
        data.fetch("mnist", tmp_path)
    assert names_in(tmp_path) == []


def test_fetch_with_another_downloader(mnist, tmp_path):
    asked = []

    def copy(url, path):
        asked.append(url)
        path.write_bytes(gzip.compress(mnist.contents[path.name.removesuffix(".gz")]))

    data.fetch("mnist", tmp_path, download=copy)
    assert asked == [f"https://ossci-datasets.s3.amazonaws.com/mnist/{file}.gz" for file in mnist.contents]
    assert_loaded(data.load("mnist", tmp_path), mnist)


def test_fetch_digits_says_they_are_inside(capsys):
    path = data.fetch("digits")
    assert path.is_file()
    assert "ships inside" in capsys.readouterr().err


# --- The table, and the real files ----------------------------------------------------------------------------------


def test_every_file_in_the_table_can_be_checked():
    files = {file for origin in data.ORIGINS.values() for file in origin.files}
    for origin in data.ORIGINS.values():
        assert origin.citation
        assert origin.licence
    for file in files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.size > 0
    assert len({file.sha256 for file in files}) == len(files) == 1 + 4 + 4 + 6 + 2 + 2


def test_every_data_set_can_be_typed():
    for verb in ("fetch", "demo"):
        (text,) = [action.help for action in parser_of(verb)._actions if action.dest == "data"]
        assert ", ".join(data.ORIGINS) in text


MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
SVHN_TRAIN = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659]
SVHN_TEST = [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595]
PUBLISHED = {  # per half: images per class, mean and standard deviation of each channel [levels]
    "mnist": ((MNIST_TRAIN, [33.3184], [78.5675]), (MNIST_TEST, [33.7912], [79.1725])),
    "fashion-mnist": (([6000] * 10, [72.9404], [90.0212]), ([1000] * 10, None, None)),
    "cifar10": (
        ([5000] * 10, [125.30692, 122.95039, 113.86538], [62.99322, 62.08871, 66.70490]),
        ([1000] * 10, [126.02464, 123.70850, 114.85432], [62.89639, 61.93753, 66.70606]),
    ),
    "cifar100": (([500] * 100, None, None), ([100] * 100, None, None)),
    "cifar100-coarse": (([2500] * 20, None, None), ([500] * 20, None, None)),
    "svhn": ((SVHN_TRAIN, None, None), (SVHN_TEST, None, None)),
}


def channel_moments(images):
    """Mean and standard deviation of each channel, from exact integer sums (a float copy would be large)."""
    blocks = [images[start : start + 1000].astype(np.uint32) for start in range(0, len(images), 1000)]
    pixels = images.size // images.shape[1]
    mean = sum(block.sum(axis=(0, 2, 3), dtype=np.int64) for block in blocks) / pixels
    square = sum((block * block).sum(axis=(0, 2, 3), dtype=np.int64) for block in blocks) / pixels
    return mean, np.sqrt(square - mean**2)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name.endswith("mnist") else pytest.mark.slow) for name in PUBLISHED]
)
def test_real_files(name):
    folder = os.environ.get("MTJ_BNN_TEST_DATA")
    if not folder:
        pytest.skip("set MTJ_BNN_TEST_DATA to a folder with mnist/, fashion-mnist/, svhn/ and so on to run it")
    if not (Path(folder) / data.ORIGINS[name].folder).is_dir():
        pytest.skip(f"MTJ_BNN_TEST_DATA has no {data.ORIGINS[name].folder}/")
    loaded = data.load(name, folder)
    for half, (per_class, mean, deviation) in zip((loaded.train, loaded.test), PUBLISHED[name], strict=True):
        np.testing.assert_array_equal(np.bincount(half.labels), per_class)
        if mean is not None:
            measured = channel_moments(half.images)
            np.testing.assert_allclose(measured[0], mean, atol=5e-5)
            np.testing.assert_allclose(measured[1], deviation, atol=5e-5)


# ---- files that are larger than the published ones -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_that_unpacks_to_far_more_is_not_kept_in_memory(mnist, tmp_path, suffix):
    """64 MB of zeros in place of a few labels: pieces of 1 MB are in memory, and 8 MB of xz; not the whole."""
    path = mnist.write(tmp_path, suffix) / ("t10k-labels-idx1-ubyte" + suffix)
    with data.OPENERS[suffix](path, "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte.* has the wrong size.* got 67,108,864 bytes"):
            data.load("mnist", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_unpacks_to_more_than_any_published_one_is_not_read_to_its_end(mnist, tmp_path, monkeypatch):
    """1 GB in 1 MB, of which the largest published size and one piece are unpacked."""
    monkeypatch.setattr(data, "ORIGINS", {"mnist": mnist.origin})
    largest = max(file.size for file in mnist.origin.files)
    path = mnist.write(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(1 << 26)) * 16)
    with pytest.raises(ValueError, match=r"has the wrong size.* got [\d,]+ and more bytes") as caught:
        data.load("mnist", tmp_path)
    got = int(str(caught.value).split(" and more bytes")[0].split(" got ")[1].replace(",", ""))
    assert largest < got <= largest + data.PIECE


def test_a_member_of_an_archive_that_is_far_larger_is_not_read(served_cifar10, server, tmp_path):
    server.bodies["/cifar-10-binary.tar.gz"] = tar_gz({**served_cifar10.contents, "data_batch_3.bin": bytes(64 << 20)})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"data_batch_3\.bin from .* wrong size, 67,108,864 bytes"):
            data.fetch("cifar10", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert names_in(tmp_path) == []
