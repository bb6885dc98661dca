"""Make digits.csv.bz2 from scikit-learn's copy: ``python notebooks/data/make_digits.py``.

The output is the same byte for byte whenever and wherever it is made: bzip2 stores no date, and its one implementation
has not changed its output in decades (gzip's depends on the version of zlib).
"""

import bz2
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from bnn.data.images import stratified_choice
from mtjsim.files import write_whole

SPLIT_SEED = 1998  # the year of the data set; no other was tried
HEADER = "# label, half (0 train, 1 test), 64 pixels from 0 to 16 row by row; see ATTRIBUTION.md"


def digits_csv() -> str:
    """Return the table as text, one image a line, in scikit-learn's order.

    Two thirds of each class are to train with. The choice is frozen in the file, so that no later version of NumPy can
    change it under a published result.
    """
    digits = load_digits()
    labels, pixels = digits.target.astype(np.int64), digits.data.astype(np.int64)
    if not np.array_equal(pixels, digits.data):
        raise ValueError("scikit-learn's pixels must be whole numbers, got fractions.")
    half = np.where(stratified_choice(labels, 2 / 3, random=np.random.default_rng(SPLIT_SEED)), 0, 1)
    rows = np.column_stack([labels, half, pixels]).tolist()
    return "\n".join([HEADER, *(",".join(map(str, row)) for row in rows)]) + "\n"


def digits_file() -> bytes:
    """Return the shipped file."""
    return bz2.compress(digits_csv().encode("ascii"), 9)


if __name__ == "__main__":
    write_whole(Path(__file__).parents[2] / "bnn" / "data" / "digits" / "digits.csv.bz2", digits_file())
