"""Published data sets: their files, checksums and citations, as a table.

The files are read by formats.py; `load` and `fetch` are in loading.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

from bnn.data.formats import (
    Parts,
    parse_cifar,
    parse_cifar100_coarse,
    parse_cifar100_fine,
    parse_digits,
    parse_idx,
    parse_svhn,
)


@dataclass(frozen=True)
class DataFile:
    """One published file.

    Parameters
    ----------
    name : str
        Official base name, without the suffix of a compression.
    size : int
        Size of the decompressed contents [bytes].
    sha256 : str
        SHA-256 (hex) of the decompressed contents.
    url : str
        Of the download: the compressed file, or a ``.tar.gz`` that contains it. Empty if it ships inside.
    """

    name: str
    size: int
    sha256: str
    url: str

    @property
    def saved_as(self) -> str:
        """File name that `fetch` gives it."""
        return self.name if self.url.endswith(".tar.gz") else PurePosixPath(self.url).name


@dataclass(frozen=True)
class Origin:
    """Files of a data set and how they are read: one entry of `ORIGINS`.

    Parameters
    ----------
    files : tuple of DataFile
        In the order in which `parse` takes their contents.
    folder : str
        Customary folder name.
    parse : callable
        Turns the decompressed contents of the files into train images and labels, test images and labels.
    class_names : tuple of str
        Meaning of label 0, 1, ...
    full_scale : int
        Largest possible level of a pixel.
    citation, licence : str
        The reference to cite, and the terms of use.
    """

    files: tuple[DataFile, ...]
    folder: str
    parse: Callable[[Sequence[bytes]], Parts]
    class_names: tuple[str, ...]
    full_scale: int
    citation: str
    licence: str


def _idx_files(url: str, *sha256: str) -> tuple[DataFile, ...]:
    """Describe the four files that MNIST and Fashion-MNIST both have."""
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    sizes = (16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000)
    return tuple(DataFile(*entry, f"{url}/{entry[0]}.gz") for entry in zip(names, sizes, sha256, strict=True))


def _cifar_files(url: str, *sha256: str) -> tuple[DataFile, ...]:
    names = (*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin")
    return tuple(DataFile(name, 30_730_000, digest, url) for name, digest in zip(names, sha256, strict=True))


def _cifar100(parse: Callable[[Sequence[bytes]], Parts], class_names: str) -> Origin:
    """Describe CIFAR-100 with one of its two kinds of labels: the files are the same."""
    # Checksums that torchvision-ruby (lib/torchvision/datasets/cifar100.rb) records for the contents of the official
    # archive; those it records for CIFAR-10 are the ones of the copies tried here. Of CIFAR-100 none was at hand.
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
    return Origin(
        files=(
            DataFile(
                "train.bin", 50_000 * 3074, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29", url
            ),
            DataFile(
                "test.bin", 10_000 * 3074, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a", url
            ),
        ),
        folder="cifar-100-binary",
        parse=parse,
        class_names=tuple(class_names.split()),
        full_scale=255,
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        licence="none declared; the author asks for citation",
    )


DIGIT_NAMES = tuple("0123456789")

CIFAR100_FINE_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""

CIFAR100_COARSE_NAMES = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture
insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
vehicles_1 vehicles_2
"""

ORIGINS: Mapping[str, Origin] = MappingProxyType(
    {
        # Made by notebooks/data/make_digits.py; what was changed is in digits/ATTRIBUTION.md.
        "digits": Origin(
            files=(
                DataFile(
                    "digits.csv", 268_393, "b8a3c77019ae692268db1c21132774cf25ae35e733a06458c0eee66ecc23c43c", url=""
                ),
            ),
            folder="digits",
            parse=parse_digits,
            class_names=DIGIT_NAMES,
            full_scale=16,
            citation="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
            "Repository (1998), DOI 10.24432/C50P49; its test half, as in scikit-learn",
            licence="CC BY 4.0",
        ),
        # Checksums that public loaders publish for the contents of LeCun's four files.
        "mnist": Origin(
            files=_idx_files(
                "https://ossci-datasets.s3.amazonaws.com/mnist",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            folder="mnist",
            parse=parse_idx,
            class_names=DIGIT_NAMES,
            full_scale=255,
            citation="Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits (1998)",
            licence="CC BY-SA 3.0 (as commonly stated)",
        ),
        # Computed from Debian's dataset-fashion-mnist 0.0~git20200523.55506a9-1. Debian only took name and date out of
        # the gzip headers: with them put back, the four files have the MD5 that the authors' README publishes.
        "fashion-mnist": Origin(
            files=_idx_files(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            folder="fashion-mnist",
            parse=parse_idx,
            class_names=(
                *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
                *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
            ),
            full_scale=255,
            citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747 (2017)",
            licence="MIT (Zalando SE)",
        ),
        # Checksums that public loaders publish for the contents of the official archive.
        "cifar10": Origin(
            files=_cifar_files(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
            ),
            folder="cifar-10-batches-bin",
            parse=parse_cifar,
            class_names=(
                *("airplane", "automobile", "bird", "cat", "deer"),
                *("dog", "frog", "horse", "ship", "truck"),
            ),
            full_scale=255,
            citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
            licence="none declared; the author asks for citation",
        ),
        "cifar100": _cifar100(parse_cifar100_fine, CIFAR100_FINE_NAMES),
        "cifar100-coarse": _cifar100(parse_cifar100_coarse, CIFAR100_COARSE_NAMES),
        # Sizes and checksums that TensorFlow Datasets (url_checksums/svhn_cropped.txt) records. No copy was at hand.
        # The 531,131 easier images of extra_32x32.mat are left out.
        "svhn": Origin(
            files=(
                DataFile(
                    "train_32x32.mat",
                    182_040_794,
                    "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                    "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
                ),
                DataFile(
                    "test_32x32.mat",
                    64_275_384,
                    "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                    "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
                ),
            ),
            folder="svhn",
            parse=parse_svhn,
            class_names=DIGIT_NAMES,
            full_scale=255,
            citation="Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS "
            "Workshop on Deep Learning and Unsupervised Feature Learning (2011)",
            licence="for non-commercial use only, as its page says",
        ),
    }
)
