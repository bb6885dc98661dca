"""Images to train on. NumPy only: nothing here imports torch.

`images.py` image sets in memory · `labelled.py` arrays and torch data sets, checked · `loading.py` by name, from a
folder or a checked download · `origins.py` sources and check sums · `formats.py` file formats · `image_files.py`,
`imagenet.py` folders of image files · `on_demand.py` images beyond the memory · `augmentation.py`
random shifts and flips · `digits/` shipped
"""

from bnn.data.imagenet import open_imagenet
from bnn.data.images import DataSet, ImageSet, LabelledImages
from bnn.data.loading import fetch, load

__all__ = ["DataSet", "ImageSet", "LabelledImages", "fetch", "load", "open_imagenet"]
