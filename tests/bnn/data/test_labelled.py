"""The images and labels that a training and an evaluation take: one door for all of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, WeightedRandomSampler

from bnn.data.images import ImageSet
from bnn.data.labelled import LabelledArrays, check_data_set, labelled, unlabelled
from bnn.data.loading import load
from networks import Images, normal

X, Y = normal(40, 1, 4, 4), torch.arange(40) % 3
SET = TensorDataset(X, Y)


class Pairs(Dataset):
    """A Dataset whose item i is `item(i)`."""

    def __init__(self, item, n=40):
        self.item, self.n = item, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.item(i)


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


def flipped_at_random(i):
    return (X[i].flip(-1) if torch.rand(()) < 0.5 else X[i]), int(Y[i])


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        (X.requires_grad_(False), Y.to(torch.uint8)),
        (X.numpy().astype(">f4"), Y.numpy().astype(">i2")),
        (X, Y.tolist()),
        (X.transpose(2, 3).contiguous().transpose(2, 3), Y),
        Images(X.numpy(), Y.numpy()),
        SET,
        Subset(SET, range(40)),
        Pairs(lambda i: (X[i], int(Y[i]))),
        Pairs(lambda i: (X[i].numpy(), Y[i])),
        DataLoader(SET, 16),
        DataLoader(SET, 8, shuffle=True, drop_last=True),  # 40 images: nothing is left out
    ],
)
def test_every_form_of_the_same_images_is_the_same_data(data):
    found = labelled("data", data)
    assert isinstance(found, LabelledArrays)
    assert np.array_equal(found.images, X.numpy())
    assert np.array_equal(found.labels, Y.numpy())
    assert found.labels.dtype == np.int64
    assert found.identity == labelled("data", (X, Y)).identity
    assert np.array_equal(unlabelled("data", data), X.numpy())
    assert len(found) == 40


def test_the_type_of_floating_point_images_is_kept_and_read_only_arrays_are_not_written_to():
    assert labelled("data", (X.double(), Y)).images.dtype == np.float64
    assert labelled("data", (X.bfloat16(), Y)).images.dtype == np.float32  # NumPy has no bfloat16
    frozen = X.numpy().copy()
    frozen.setflags(write=False)
    torch.from_numpy(labelled("data", (frozen, Y)).images).zero_()  # no warning: a copy
    assert np.array_equal(frozen, X.numpy())
    assert np.array_equal(unlabelled("data", X), X.numpy())


def test_the_identity_depends_on_every_image_and_label():
    whole = labelled("data", (X, Y)).identity
    other, labels = X.clone(), Y.clone()
    other[39, 0, 3, 3] += 1e-6
    labels[39] = 2
    assert len({whole, *(labelled("data", pair).identity for pair in ((other, Y), (X, labels), (X.double(), Y)))}) == 4


def test_a_set_of_levels_is_scaled_by_itself():
    images = ImageSet(np.full((2, 1, 2, 2), 255, np.uint8), np.array([0, 1]), "two")
    assert (labelled("data", images).images == 1.0).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (load("digits"), r"one set of images, got the data set 'digits', of two. Pass one of them: data.train or"),
        (None, r"train must be images with their labels: a pair \(images, labels\).*got NoneType"),
        ("digits", "got str"),
        (X, r"got Tensor of shape \(40, 1, 4, 4\), which has no labels"),
        ((X, Y, Y), "got tuple of 3"),
        (([1.0], Y), "images as an array or a tensor, got list of 1"),
        (Endless(), "a Dataset with a length, got Endless, which can only be iterated"),
        (DataLoader(Endless()), "Endless, which can only be iterated"),
        (Pairs(lambda i: {"image": X[i]}), r"pairs \(tensor, label\), got dict for image 0. Pass \(images, labels\)"),
        (
            TensorDataset(X, Y, Y),
            r"got tuple of 3 for image 0. Pass \(images, labels\), or a Dataset that returns these",
        ),
        (Pairs(lambda i: (object(), 1)), r"got \(object, int\) for image 0. .* ToTensor"),
    ],
)
def test_what_is_no_images_with_labels_is_a_type_error_with_the_remedy(data, message):
    with pytest.raises(TypeError, match=message):
        labelled("train", data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, Y[:, None]), r"labels of shape \(n,\), one class an image, got \(40, 1\). Use labels.ravel"),
        ((X, torch.eye(3)[Y]), r"got \(40, 3\). Of one-hot labels use labels.argmax\(1\)"),
        ((X, Y.float()), "whole numbers, one class an image, got float32"),
        ((X, Y > 1), "whole numbers, one class an image, got bool"),
        ((X, Y - 1), "labels >= 0, got -1 for image 0"),
        ((X, Y[1:]), "a label for each image, got 39 for 40 images"),
        ((X[:0], Y[:0]), "at least one image, got none"),
        ((X.to(torch.uint8), Y), r"floating-point images, got levels from 0 to 255 \(uint8\).*bnn.ImageSet"),
        ((X > 0, Y), r"floating-point images, got bool. Use images.astype\('float32'\)"),
        pytest.param(
            (X.numpy().astype(np.longdouble), Y),
            r"at most 64 bits, got float\d+. Use images.astype\('float32'\)",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="longdouble is float64 here"),
        ),
        ((X.to_sparse(), Y), r"dense tensors, got torch.sparse_coo. Use tensor.to_dense\(\)"),
        ((np.ma.masked_less(X.numpy(), 0.0), Y), r"without a mask, got a masked one. Use array.filled\(0\)"),
        ((X, np.ma.masked_less(Y.numpy(), 1)), "without a mask, got a masked one"),
        ((X, 3), r"labels of shape \(n,\), one class an image, got 3"),
        ((X, torch.tensor(3)), r"labels of shape \(n,\), one class an image, got tensor\(3\)"),
        ((X, np.full(40, 2**63 + 5, np.uint64)), "labels of 63 bits, got 9223372036854775813 for image 0"),
        ((X[:, 0, 0, 0], Y), r"images of shape \(n, ...\), one row an image, got \(40,\)"),
        ((X.where(X[7, 0, 1, 1] != X, torch.inf), Y), "finite values, got NaN or infinity in image 7"),
        (DataLoader(SET, 16, drop_last=True), "drop_last, which would leave out 8 images. Pass loader.dataset"),
        (DataLoader(SET, 16, sampler=WeightedRandomSampler([1.0] * 40, 40)), "a sampler of its own"),
        (DataLoader(SET, 16, collate_fn=lambda items: items), "a collate_fn of its own"),
        (DataLoader(SET, None), "batch_size=None, which cuts none. Pass loader.dataset"),
        (Pairs(lambda i: (X[i, :, : 4 - i // 39], int(Y[i]))), r"one shape, got \(1, 4, 4\) for .* of|for image 39"),
        (Pairs(flipped_at_random), r"the same image each time, got two .* for image \d+ \(a random transform"),
        (Pairs(lambda i: (X[i], int(Y[i])), n=0), "at least one image"),
    ],
)
def test_images_and_labels_that_are_wrong_are_refused(data, message):
    """A random flip of half the images: of the 16 that are read twice all agree with probability 2^-16 = 1.5e-5."""
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        labelled("train", data)


def test_a_data_set_has_two_halves():
    check_data_set("data", load("digits"))
    for other in (DataLoader(SET, 16), (X, Y), SimpleNamespace(train=(X, Y), test=(X, Y))):
        with pytest.raises(TypeError, match=r"data must be a bnn.DataSet, of .*, got \w+( of 2)?\. For your") as found:
            check_data_set("data", other)
        assert len(str(found.value)) < 300  # no array is printed
