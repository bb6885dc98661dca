"""Folders of image files: what is in them, how a file becomes pixels, and every way in which that can go wrong."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bnn
from bnn.data.image_files import ImageFiles, read_image
from bnn.data.images import ImageSet
from bnn.models import mlp

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG: grey, grey and alpha, colour, colour and alpha


def png(levels):
    """A PNG file, written from the standard: levels of shape (height, width, channels), unfiltered."""
    height, width, channels = levels.shape

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8 * levels.itemsize, COLOUR_TYPES[channels], 0, 0, 0)
    rows = levels.astype(levels.dtype.newbyteorder(">"))
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def saved(levels, form="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, form, quality=95)
    return buffer.getvalue()


def pixels(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, size=shape, dtype=dtype, endpoint=True)


def written(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


CLASSES = ("n01", "n02", "n03")
NAMES = {  # in the order in which they are written, which is not that of the names
    "train": {"n03": ("c.JPEG", "b.png"), "n01": ("z.JPEG", "a.jpg", "m.jpeg"), "n02": ("x.PNG",)},
    "val": {"n02": ("v_4.JPEG", "v_1.JPEG"), "n01": ("v_3.JPEG",), "n03": ("v_5.JPEG", "v_2.JPEG")},
}
SMALL = {"complete": False, "resize": 12, "crop": 8}


@pytest.fixture
def tree(tmp_path):
    """A small folder laid out like ImageNet, each image another one."""
    for half, classes in NAMES.items():
        for name, files in classes.items():
            for file in files:
                body = png(pixels(13, 17, 3, seed=len(list(tmp_path.rglob("*.*")))))
                written(tmp_path / half / name / file, body)
    return tmp_path


def flat(tree):
    """Take the images of val/ out of their class folders."""
    for path in sorted((tree / "val").glob("*/*")):
        path.rename(tree / "val" / path.name)
    for name in CLASSES:
        (tree / "val" / name).rmdir()
    return tree


# --- From a file to pixels ------------------------------------------------------------------------------------------


def triangle(length, target):
    """Weights of a bilinear reduction, shape (target, length): triangles as wide as the reduction, normalised."""
    scale = max(length / target, 1.0)
    centre = (np.arange(target)[:, None] + 0.5) * length / target
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(length) + 0.5 - centre) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


@given(height=st.integers(3, 60), width=st.integers(3, 60), resize=st.integers(3, 40), data=st.data())
@settings(max_examples=40, deadline=None)
def test_resized_and_cropped_as_said(tmp_path_factory, height, width, resize, data):
    crop = data.draw(st.integers(1, resize))
    levels = pixels(height, width, 3, seed=height)
    path = written(tmp_path_factory.mktemp("image") / "a.png", png(levels))
    read = read_image(path, resize, crop)
    assert read.shape == (3, crop, crop)
    assert read.dtype == np.uint8
    rows, columns = height * resize // min(height, width), width * resize // min(height, width)
    exact = np.einsum("rh,cw,hwk->krc", triangle(height, rows), triangle(width, columns), levels.astype(float))
    top, left = round((rows - crop) / 2), round((columns - crop) / 2)
    wanted = exact[:, top : top + crop, left : left + crop]
    # Pillow rounds twice, after each direction, so that it may be off by half a level and half a level.
    assert np.abs(read - wanted).max() <= 1.01


def test_what_has_the_right_size_is_not_touched(tmp_path):
    levels = pixels(8, 11, 3)
    read = read_image(written(tmp_path / "a.png", png(levels)), 8, 4)
    np.testing.assert_array_equal(read, levels[2:6, 4:8].transpose(2, 0, 1))  # 3.5 is rounded to even


def test_grey_becomes_three_channels_and_transparency_nothing(tmp_path):
    grey, colour = pixels(5, 5, 2), pixels(5, 5, 4)
    for levels in (grey[..., :1], grey):
        read = read_image(written(tmp_path / "grey.png", png(levels)), 5, 5)
        np.testing.assert_array_equal(read, np.repeat(levels[None, ..., 0], 3, axis=0))
    read = read_image(written(tmp_path / "colour.png", png(colour)), 5, 5)
    np.testing.assert_array_equal(read, colour[..., :3].transpose(2, 0, 1))


def test_jpeg_and_a_png_that_calls_itself_jpeg(tmp_path):
    smooth = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 3, np.arange(64) * 2, 90), axis=-1).astype(np.uint8)
    wanted = smooth.transpose(2, 0, 1).astype(int)
    assert np.abs(read_image(written(tmp_path / "a.JPEG", saved(smooth)), 64, 64) - wanted).max() <= 8
    np.testing.assert_array_equal(read_image(written(tmp_path / "b.JPEG", png(smooth)), 64, 64), wanted)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not here</html>",
        png(pixels(9, 9, 3))[:-60],
        png(pixels(9, 9, 3))[:60] + b"U" * 30 + png(pixels(9, 9, 3))[90:],
        saved(pixels(64, 64, 3))[:3000],
        saved(pixels(64, 64, 3))[:40],
        saved(pixels(9, 9, 3), form="BMP"),
        png(pixels(9, 9, 1, dtype=np.uint16)),
    ],
    ids=["empty", "page", "truncated png", "garbled png", "truncated jpeg", "head of a jpeg", "bmp", "16 bits"],
)
def test_what_is_no_whole_image_is_named(tree, body):
    path = written(tree / "train" / "n02" / "x.PNG", body)
    imagenet = bnn.open_imagenet(tree, **SMALL)
    for decode in (imagenet.train.decoded, imagenet.train.scaled, lambda: list(imagenet.train.batches(2))):
        with pytest.raises(ValueError, match=rf"{path} is not a JPEG or PNG image of 8 bits.*take it out"):
            decode()
    assert len(imagenet.test.decoded()) == 5, "the other half is not concerned"


def test_too_many_pixels_are_an_error_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    path = written(tmp_path / "a.png", png(pixels(9, 10, 3)))
    with pytest.raises(ValueError, match=r"a\.png is not .*DecompressionBomb"):
        read_image(path, 8, 8)


def test_a_file_that_went_away(tree):
    imagenet = bnn.open_imagenet(tree, **SMALL)
    (tree / "train" / "n02" / "x.PNG").unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.PNG"):
        imagenet.train.decoded()


# --- The layout -----------------------------------------------------------------------------------------------------


def test_classes_and_files_are_sorted(tree):
    imagenet = bnn.open_imagenet(tree, **SMALL)
    assert imagenet.class_names == CLASSES
    assert [path.name for path in imagenet.train.paths] == ["a.jpg", "m.jpeg", "z.JPEG", "x.PNG", "b.png", "c.JPEG"]
    np.testing.assert_array_equal(imagenet.train.labels, [0, 0, 0, 1, 2, 2])
    assert [path.name for path in imagenet.test.paths] == [f"v_{n}.JPEG" for n in (3, 1, 4, 2, 5)]
    np.testing.assert_array_equal(imagenet.test.labels, [0, 1, 1, 2, 2])
    assert imagenet.train.labels.dtype == np.int64
    assert (imagenet.train.name, imagenet.test.name) == ("imagenet/train", "imagenet/val")


def test_says_that_nothing_was_verified(tree):
    imagenet = bnn.open_imagenet(tree, **SMALL)
    assert "not verified by hash" in imagenet.source
    assert "not verified by hash" in imagenet.decoded().source
    assert "not verified by hash" in repr(imagenet.train)
    assert "6 files" in repr(imagenet.train)


def test_hidden_files_are_passed_over(tree):
    wanted = bnn.open_imagenet(tree, **SMALL).identity
    for folder in (tree, tree / "train", tree / "val", tree / "train" / "n01"):
        written(folder / ".DS_Store", b"x")
    assert bnn.open_imagenet(tree, **SMALL).identity == wanted


def test_chosen_classes_count_anew_and_are_sorted(tree):
    imagenet = bnn.open_imagenet(tree, classes=["n03", "n01"], **SMALL)
    assert imagenet.class_names == ("n01", "n03")
    np.testing.assert_array_equal(imagenet.train.labels, [0, 0, 0, 1, 1])
    assert {path.parent.name for path in imagenet.test.paths} == {"n01", "n03"}
    (tree / "train" / "n02" / "x.PNG").unlink()
    assert bnn.open_imagenet(tree, classes=("n01", "n03"), **SMALL).identity == imagenet.identity


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (["n04"], ValueError, r"among the 3 folders of train, got 'n04'\. Did you mean 'n0"),
        (["zebra"], ValueError, r"got 'zebra'\.$"),
        ([1], ValueError, "got 1"),
        ([], ValueError, "at least one"),
        (["n01", "n01"], ValueError, "none twice"),
        ("n01", TypeError, r"Write \['n01'\]"),
    ],
)
def test_classes_that_are_not_there(tree, classes, error, message):
    with pytest.raises(error, match=message):
        bnn.open_imagenet(tree, classes=classes, **SMALL)


@pytest.mark.parametrize("half", ["train", "val"])
def test_missing_half(tree, half):
    (tree / half).rename(tree / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"has no {half}.*train/<wnid>/"):
        bnn.open_imagenet(tree, **SMALL)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' has no train"):
        bnn.open_imagenet(tmp_path / "nowhere")


@pytest.mark.parametrize("half", ["train", "val"])
def test_empty_class(tree, half):
    for path in (tree / half / "n02").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=rf"class n02 must have images, but .*{half} has none"):
        bnn.open_imagenet(tree, **SMALL)
    assert len(bnn.open_imagenet(tree, classes=["n01"], **SMALL).train) == 3


def test_no_classes_at_all(tmp_path):
    for half in ("train", "val"):
        (tmp_path / half).mkdir()
    with pytest.raises(ValueError, match="train must hold a folder for each class, but is empty"):
        bnn.open_imagenet(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "image.gif", "jpeg"])
def test_file_that_is_not_named_as_an_image(tree, name):
    path = written(tree / "val" / "n03" / name, b"")
    with pytest.raises(ValueError, match=f"{path} is not an image"):
        bnn.open_imagenet(tree, **SMALL)


def test_file_beside_the_classes(tree):
    written(tree / "train" / "n01.tar", b"")
    with pytest.raises(ValueError, match=r"train must hold .* has the file n01\.tar\. Take it out\."):
        bnn.open_imagenet(tree, **SMALL)


def test_halves_of_different_classes(tree):
    (tree / "val" / "n02").rename(tree / "val" / "n04")
    with pytest.raises(ValueError, match="has n04, which train has not"):
        bnn.open_imagenet(tree, **SMALL)
    for path in (tree / "val" / "n04").iterdir():
        path.unlink()
    (tree / "val" / "n04").rmdir()
    with pytest.raises(ValueError, match=r"class n02 must have images, but .*val has none of it"):
        bnn.open_imagenet(tree, **SMALL)


def test_complete_is_what_was_published(tmp_path):
    # Nothing is decoded here: the files are empty.
    for number in range(1301):
        written(tmp_path / "train" / "n01" / f"{number}.JPEG", b"")
    for number in range(50):
        written(tmp_path / "val" / "n01" / f"{number}.JPEG", b"")
    with pytest.raises(ValueError, match=r"732 to 1,300 images in .*train, .* got 1,301\..*complete=False"):
        bnn.open_imagenet(tmp_path)
    (tmp_path / "train" / "n01" / "7.JPEG").unlink()
    assert len(bnn.open_imagenet(tmp_path).train) == 1300
    for number in range(1000, 1301):
        (tmp_path / "train" / "n01" / f"{number}.JPEG").unlink()
    assert len(bnn.open_imagenet(tmp_path).train) == 999
    for number in range(732, 1000):
        (tmp_path / "train" / "n01" / f"{number}.JPEG").unlink()
    with pytest.raises(ValueError, match="got 731"):
        bnn.open_imagenet(tmp_path)
    written(tmp_path / "train" / "n01" / "7.JPEG", b"")
    assert len(bnn.open_imagenet(tmp_path).test) == 50
    (tmp_path / "val" / "n01" / "7.JPEG").unlink()
    with pytest.raises(ValueError, match=r"class n01 must have 50 images in .*val, as in ILSVRC2012, got 49"):
        bnn.open_imagenet(tmp_path)
    assert len(bnn.open_imagenet(tmp_path, complete=False).test) == 49


# --- A flat val ------------------------------------------------------------------------------------------------------

LABELS = {"v_1": "n02", "v_2": "n03", "v_3": "n01", "v_4": "n02", "v_5": "n03"}
TABLES = {
    "Kaggle": "ImageId,PredictionString\n"
    + "".join(f"{image},{name} 1 2 3 4 {name} 5 6 7 8\n" for image, name in sorted(LABELS.items(), reverse=True)),
    "file and class": "".join(f"{image}.JPEG {name}\n\n" for image, name in LABELS.items()),
    "tabs": "".join(f"{image}.JPEG\t{name}\t0\t0\t62\t62\n" for image, name in LABELS.items()),
    "classes": "".join(f"{name}\n" for name in LABELS.values()),
}


@pytest.mark.parametrize("table", TABLES)
def test_flat_val_is_the_same_data_set(tree, table):
    in_folders = bnn.open_imagenet(tree, **SMALL)
    wanted = in_folders.identity, in_folders.decoded().identity
    written(flat(tree) / "labels", TABLES[table].encode())
    loaded = bnn.open_imagenet(tree, val_labels=tree / "labels", **SMALL)
    assert (loaded.identity, loaded.decoded().identity) == wanted
    few = bnn.open_imagenet(tree, val_labels=tree / "labels", classes=["n03"], **SMALL)
    assert [path.name for path in few.test.paths] == ["v_2.JPEG", "v_5.JPEG"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*"12345"], "'1' for 'v_1'.*development kit"),
        (["n01"] * 4, "must be 5 lines, one for each image of val, got 4"),
        (["v_1 n01", "v_2 n01", "v_3 n01", "v_4 n01"], r"no v_5\.JPEG"),
        ([f"v_{n} n01" for n in (1, 2, 3, 4, 5, 6)], "has 'v_6' twice, or without a file"),
        ([f"v_{n} n01" for n in (1, 2, 3, 4, 5, 5)], "has 'v_5' twice, or without a file"),
        ([f"v_{n} n09" for n in (1, 2, 3, 4, 5)], "has 'n09' for 'v_1'"),
        (["v_1 n01", "v_2"], "has '' for 'v_2'"),
        ([], "must be 5 lines.* got 0"),
    ],
)
def test_table_that_does_not_fit(tree, lines, message):
    written(flat(tree) / "labels", "\n".join(lines).encode())
    with pytest.raises(ValueError, match=message):
        bnn.open_imagenet(tree, val_labels=tree / "labels", **SMALL)


def test_flat_val_without_a_table(tree):
    with pytest.raises(ValueError, match=r"has the file v_1\.JPEG.*pass val_labels="):
        bnn.open_imagenet(flat(tree), **SMALL)


def test_table_for_a_val_that_is_not_flat(tree):
    written(tree / "labels", TABLES["classes"].encode())
    with pytest.raises(ValueError, match="n01 is not an image"):
        bnn.open_imagenet(tree, val_labels=tree / "labels", **SMALL)


def test_table_that_is_not_there(tree):
    with pytest.raises(FileNotFoundError, match="labels"):
        bnn.open_imagenet(flat(tree), val_labels=tree / "labels", **SMALL)


def test_images_that_differ_in_their_ending_only(tree):
    written(flat(tree) / "labels", TABLES["Kaggle"].encode())
    written(tree / "val" / "v_1.png", b"")
    with pytest.raises(ValueError, match="differ in their ending only"):
        bnn.open_imagenet(tree, val_labels=tree / "labels", **SMALL)


# --- In memory, or batch by batch -------------------------------------------------------------------------------------


@pytest.fixture
def files(tree):
    return bnn.open_imagenet(tree, **SMALL).train


def test_decoded_is_each_file_in_its_place(files):
    decoded = files.decoded()
    assert isinstance(decoded, ImageSet)
    assert decoded.images.shape == (6, 3, 8, 8)
    assert decoded.full_scale == 255
    for image, path in zip(decoded.images, files.paths, strict=True):
        np.testing.assert_array_equal(image, read_image(path, 12, 8))
    assert len({image.tobytes() for image in decoded.images}) == 6
    np.testing.assert_array_equal(decoded.labels, files.labels)
    scaled = files.scaled()
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, decoded.scaled())


@pytest.mark.parametrize("size", [1, 4, 6, 100])
def test_batches_are_the_images_in_their_order(files, size, monkeypatch):
    batches = list(files.batches(size))
    assert [len(batch) for batch in batches] == [min(size, 6 - start) for start in range(0, 6, size)]
    decoded = files.decoded()
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), decoded.images)
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), decoded.labels)
    monkeypatch.setattr("bnn.data.image_files.AT_ONCE", size)
    np.testing.assert_array_equal(files.scaled(), decoded.scaled())


def test_memory_limit_is_exact_and_comes_first(tree):
    files = bnn.open_imagenet(tree, **SMALL, memory_limit=6 * 3 * 8 * 8).train
    assert files.memory(np.uint8) == 6 * 3 * 8 * 8
    assert files.memory() == files.memory(np.float32) == 4 * 6 * 3 * 8 * 8
    assert files.decoded().images.nbytes == files.memory_limit
    for path in files.paths:
        path.write_bytes(b"garbage, which nobody reads")
    with pytest.raises(ValueError, match=r"memory_limit of imagenet/train must be at least 4,608 bytes, got 1,152"):
        files.scaled()
    with pytest.raises(ValueError, match=r"6 images of 3 x 8 x 8 uint8.*classes=.*batches\(\)"):
        ImageFiles(files.paths, files.labels, "x", 12, 8, memory_limit=1151).decoded()


def test_subset_and_split_are_those_of_the_images(files):
    decoded = files.decoded()
    chosen, wanted = files.subset([5, 0, 0], name="few"), decoded.subset([5, 0, 0], name="few")
    assert (chosen.name, chosen.resize, chosen.crop) == ("few", 12, 8)
    assert chosen.decoded().identity == wanted.identity
    for part, same in zip(files.split(0.5, seed=3), decoded.split(0.5, seed=3), strict=True):
        assert part.decoded().identity == same.identity
    with pytest.raises(IndexError, match="0 to 5, got 6"):
        files.subset([6])


def test_identity_is_of_contents_and_not_of_names(files, tmp_path):
    wanted = files.identity
    (tmp_path / "other").mkdir()
    moved = tuple(path.rename(tmp_path / "other" / f"{9 - n}.png") for n, path in enumerate(files.paths))
    again = ImageFiles(moved, files.labels, "other", 12, 8)
    assert again.identity == wanted
    others = [
        ImageFiles(moved, files.labels, "other", 12, 7),
        ImageFiles(moved, files.labels, "other", 13, 8),
        ImageFiles(moved, files.labels[::-1].copy(), "other", 12, 8),
        ImageFiles(moved[::-1], files.labels, "other", 12, 8),
    ]
    assert len({wanted, *(other.identity for other in others)}) == 5
    with moved[0].open("ab") as stream:
        stream.write(b"x")
    assert ImageFiles(moved, files.labels, "other", 12, 8).identity != wanted


def test_classes_are_part_of_the_identity(tree):
    wanted = bnn.open_imagenet(tree, **SMALL).identity
    for half in ("train", "val"):
        (tree / half / "n03").rename(tree / half / "n04")
    assert bnn.open_imagenet(tree, **SMALL).identity != wanted


def test_a_network_learns_from_files_what_it_learns_from_images(files):
    answers = []
    for images in (files, files.decoded()):
        model = mlp(3 * 8 * 8, (16,), 3, seed=0)
        bnn.Trainer(model, bnn.TrainConfig(epochs=1, batch_size=3, learning_rate=0.1, seed=0)).fit(images)
        answers.append((bnn.evaluate(model, images).correct_per_image, *(p.detach() for p in model.parameters())))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": np.zeros(2, np.int32)}, TypeError, "array of int64, got int32"),
        ({"labels": [0, 0]}, TypeError, "array of int64"),
        ({"labels": np.zeros(3, np.int64)}, ValueError, "labels must be one for each path, got 3 for 2"),
        (
            {"labels": np.zeros(0, np.int64), "paths": ()},
            ValueError,
            r"labels must have .* none empty; got shape \(0,\)",
        ),
        ({"labels": np.array([0, -1])}, ValueError, "labels must be >= 0, got -1"),
        ({"crop": 0}, ValueError, "crop must be 1 to resize=256 pixels, got 0"),
        ({"crop": 257}, ValueError, "got 257"),
        ({"memory_limit": 0}, ValueError, "memory_limit must be > 0 bytes, got 0"),
    ],
)
def test_image_files_refuse(tmp_path, changes, error, message):
    paths = (tmp_path / "a.png", tmp_path / "b.png")
    with pytest.raises(error, match=message):
        ImageFiles(**{"paths": paths, "labels": np.zeros(2, np.int64), "name": "x", **changes})


def test_batches_refuse_no_size(files):
    with pytest.raises(ValueError, match="size must be >= 1, got 0"):
        files.batches(0)


def test_labels_cannot_be_changed_under_the_identity(files):
    with pytest.raises(ValueError, match="read-only"):
        files.labels[0] = 7


def test_the_order_does_not_depend_on_the_listing(tree, monkeypatch):
    wanted = bnn.open_imagenet(tree, **SMALL).identity
    listing = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: sorted(listing(folder), reverse=True))
    assert bnn.open_imagenet(tree, **SMALL).identity == wanted
