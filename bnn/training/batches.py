"""Batches of training images: their order, their augmentation, and where the images are, in memory or in files."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bnn.data.image_files import ImageFiles
from bnn.data.labelled import Labelled
from bnn.data.on_demand import identity_of_files, on_demand
from bnn.layers.inputs import labelled_tensors
from bnn.streams import torch_generator
from bnn.training.config import TrainConfig
from bnn.training.identity import described
from bnn.training.processes import part_of, world
from mtjsim.checks import ArgumentError

PAD = {"background": "constant", "edge": "replicate", "reflect": "reflect"}
BACKGROUND = -1.0  # level 0 of `ImageSet.scaled`


class Batch(NamedTuple):
    """What one process computes of one batch: `part`, the numbers of its images, of `size` in all processes."""

    part: Tensor
    images: Tensor
    labels: Tensor
    size: int


class Batches:
    """The training images of one run, batch by batch.

    Parameters
    ----------
    model : Module
        Whose device and type the images get.
    config : TrainConfig
    train : pair, Dataset, DataLoader, or object with ``scaled()`` and ``labels``
        Images are kept in memory; those that exceed it, see `on_demand`, are read for each batch, files while the batch
        before is trained on. The bits of a training are the same.

    Raises
    ------
    TypeError, ValueError
        As `labelled`; for images that cannot be augmented, or a batch with fewer images than there are processes.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, train: Labelled) -> None:
        _check_loader(train, config.batch_size)
        self.config, self.source, self._elsewhere = config, train, on_demand("train", train)
        held: Any = train
        if self._elsewhere is not None:
            held = self._elsewhere.read(np.arange(1)), self._elsewhere.labels[:1]
        self._images, self.labels = labelled_tensors(model, "train", held)
        if self._elsewhere is not None:
            self.labels = torch.tensor(self._elsewhere.labels).to(self.labels.device)
        if config.augment is not None:
            config.augment.check_images("train", self._images)
        self.shape, self.count = tuple(self._images.shape[1:]), len(self.labels)  # of an image; of images
        self.steps = -(-self.count // config.batch_size)  # in an epoch
        if self.count // self.steps < world():
            raise ArgumentError("batch_size", f"must be >= {world()}, an image a process, got {config.batch_size}.")
        self._epoch = -1
        self._parts: tuple[Tensor, ...] = ()
        self._moves = self._flips = torch.empty(0)
        self._reader: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[NDArray[Any]]] | None = None  # step of this epoch, and its images

    def identity(self) -> str:
        """Return a text of images and labels that is equal for equal ones, for the identity of a training."""
        if isinstance(self.source, ImageFiles):
            return identity_of_files(self.source)
        if self._elsewhere is not None:
            return self._elsewhere.identity
        return f"{described(self._images)}, labels {described(self.labels)}"

    def begin(self, epoch: int) -> bool:
        """Draw order and augmentation of an epoch; False if it is the one under way."""
        if epoch == self._epoch:
            return False
        stream = torch_generator(self.config.seed, "image_order", epoch)
        order = torch.randperm(self.count, generator=stream).to(self.labels.device)
        self._epoch, self._parts, self._next = epoch, order.tensor_split(self.steps), None
        if self.config.augment is not None:
            draws = self.config.augment.draws(seed=self.config.seed, epoch=epoch, images=self.count)
            self._moves, self._flips = (torch.from_numpy(values).to(order.device) for values in draws)
        return True

    def batch(self, step: int) -> Batch:
        """Return a batch of the epoch under way, with the images of this process's part of it."""
        whole = self._parts[step]
        part = part_of(whole)
        images = self._images[part] if self._elsewhere is None else self._read(step, part)
        if (augment := self.config.augment) is not None:
            images = moved(images, self._moves[part], self._flips[part], shift=augment.shift, fill=augment.fill)
        return Batch(part, images, self.labels[part], len(whole))

    def first(self, count: int) -> Tensor:
        """Return the first images, as they are."""
        if self._elsewhere is None:
            return self._images[:count]
        return self._like(self._elsewhere.read(np.arange(min(count, self.count))))

    def close(self) -> None:
        """End the thread that reads ahead."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        self._reader, self._next = None, None

    def _read(self, step: int, part: Tensor) -> Tensor:
        """Return images that are not in memory, and begin to read those of the next batch."""
        assert self._elsewhere is not None
        if self._next is not None and self._next[0] == step:
            images = self._next[1].result()
        else:
            images = self._elsewhere.read(part.cpu().numpy())
        if self._elsewhere.ahead and step + 1 < self.steps:
            self._reader = self._reader or ThreadPoolExecutor(1)
            following = part_of(self._parts[step + 1]).cpu().numpy()
            self._next = step + 1, self._reader.submit(self._elsewhere.read, following)
        return self._like(images)

    def _like(self, images: NDArray[Any]) -> Tensor:
        return torch.from_numpy(images).to(self._images.device, self._images.dtype)


def moved(images: Tensor, moves: Tensor, flips: Tensor, *, shift: int, fill: str) -> Tensor:
    """Flip and then shift each image.

    Parameters
    ----------
    images : Tensor, (n, channels, height, width)
    moves : Tensor of int64, (n, 2)
        Rows down and columns to the right, -shift ... shift.
    flips : Tensor of bool, (n,)
    shift : int
    fill : {"background", "edge", "reflect"}
        See `bnn.Augment`.

    Examples
    --------
    >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> moved(image, torch.tensor([[0, 1]]), torch.tensor([True]), shift=1, fill="edge")  # 3 2 1, then to the right
    tensor([[[[3., 3., 2.]]]])
    """
    n, channels, height, width = images.shape
    down, right = (moves + shift).T[:, :, None]  # in the padded image
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    rows = rows - down + 2 * shift
    columns = torch.where(flips[:, None], width - 1 - columns + right, columns - right + 2 * shift)
    value = {"value": BACKGROUND} if fill == "background" else {}
    padded = F.pad(images, (shift,) * 4, mode=PAD[fill], **value)
    places = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).flatten(1)
    found = padded.flatten(2).gather(2, places[:, None].expand(n, channels, -1))
    return found.view(images.shape)


def _check_loader(train: Labelled, batch_size: int) -> None:
    own = getattr(train.batch_sampler, "batch_size", None) if isinstance(train, DataLoader) else batch_size
    if own not in (None, batch_size):
        rule = f"must be a DataLoader with batches of config.batch_size={batch_size}, got {own}"
        raise ArgumentError("train", f"{rule}. Make the two equal, or pass train.dataset.")
