"""Codes of stored words: a parity bit, a range of values, a code that corrects one cell in 72.

None of these functions changes its input or draws a random number.
"""

import math
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_shape
from bridge.memory.formats import Words, checked_words
from mtjsim.checks import ArgumentError, checked_number

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint64]

PROTECTIONS = ("none", "parity", "range", "secded")
BLOCK_BITS, CHECK_BITS = 64, 8
NO_ERROR, CORRECTED, UNCORRECTABLE = 0, 1, 2

_WORD_DTYPES: dict[int, type[np.unsignedinteger[Any]]] = {
    1: np.uint8,
    2: np.uint8,
    8: np.uint8,
    16: np.uint16,
    32: np.uint32,
}


# Parity and range: a word that fails reads as zero.


def parity_bit(words: Words) -> Bytes:
    """Bit that makes the number of ones in word and parity cell even.

    Parameters
    ----------
    words : array of unsigned integers
        Any shape.

    Returns
    -------
    array of uint8
        0 or 1, in the shape of `words`.

    Raises
    ------
    ValueError
        If the words are not unsigned integers.

    Examples
    --------
    >>> parity_bit(np.array([0b0111, 0b0110], dtype=np.uint8))
    array([1, 0], dtype=uint8)
    """
    if not isinstance(words, (np.ndarray, np.generic)) or words.dtype.kind != "u":
        got = words.dtype if isinstance(words, (np.ndarray, np.generic)) else type(words).__name__
        raise ArgumentError("words", f"must be unsigned integers, got {got}. Format.encode() gives such words.")
    return np.asarray(np.bitwise_count(words) & np.uint8(1))


def parity_fails(words: Words, parity: Bytes) -> NDArray[np.bool_]:
    """Whether a word disagrees with its parity bit: an odd number of wrong cells, the parity cell counted.

    An even number of wrong cells passes. A word that fails is read as zero, the answer of the patent application below:
    ``np.where(parity_fails(words, parity), 0, values)``. Its claims leave the code open; one parity bit a word is the
    choice here. A binary word then is 0, which no binary cell can hold.

    Parameters
    ----------
    words : array of unsigned integers
        As read.
    parity : array of uint8
        As read, 0 or 1, in the shape of `words`.

    Returns
    -------
    array of bool
        In the shape of `words`.

    Raises
    ------
    ValueError
        If dtypes or shapes do not match, or a parity bit is neither 0 nor 1.

    References
    ----------
    Gajek and Tzoufras, US 2020/0193282 (zero in place of a weight found wrong).
    """
    expected, parity = parity_bit(words), _checked_check("parity", parity, "words", words)
    if parity.size and parity.max() > 1:
        raise ArgumentError("parity", f"must be 0 or 1, got {parity.max()}: it is one cell a word.")
    return np.asarray(expected != parity)


def range_fails(values: ArrayLike, *, limit: float) -> NDArray[np.bool_]:
    """Whether a decoded value is outside -limit..limit, or NaN. Like a word that fails its parity it reads as 0.

    It needs no cells and no code: a flip in the upper bits of an exponent makes a number that no weight has.

    Parameters
    ----------
    values : array_like
        Decoded values, any shape.
    limit : float
        Largest magnitude that is accepted, > 0.

    Returns
    -------
    array of bool
        In the shape of `values`.

    Raises
    ------
    ValueError
        If the limit is not a positive number.

    Examples
    --------
    >>> range_fails([0.5, -3.0, float("nan")], limit=2.0)
    array([False,  True,  True])
    """
    limit = checked_number("limit", limit, "", zero_allowed=False)
    return np.asarray(~(np.abs(values) <= limit))


# SECDED.


def _hsiao_columns() -> tuple[int, ...]:
    of_three = [sum(1 << row for row in rows) for rows in combinations(range(CHECK_BITS), 3)]
    of_five = [(0b11111 << turn | 0b11111 >> (CHECK_BITS - turn)) & 0xFF for turn in range(CHECK_BITS)]
    return (*sorted(of_three), *sorted(of_five), *(1 << row for row in range(CHECK_BITS)))


HSIAO_COLUMNS = _hsiao_columns()
"""Check matrix of the (72,64) code, one byte a column (bit r is row r): 64 of data bits 0..63, 8 of check bits 0..7."""

_ROWS = [
    np.uint64(sum((column >> row & 1) << bit for bit, column in enumerate(HSIAO_COLUMNS[:BLOCK_BITS])))
    for row in range(CHECK_BITS)
]
_FLIP = np.zeros(256, dtype=np.uint64)  # by syndrome: the data bit to turn, none if a check bit is wrong
_FLIP[list(HSIAO_COLUMNS[:BLOCK_BITS])] = np.uint64(1) << np.arange(BLOCK_BITS, dtype=np.uint64)
_STATUS = np.full(256, UNCORRECTABLE, dtype=np.uint8)
_STATUS[list(HSIAO_COLUMNS)] = CORRECTED
_STATUS[0] = NO_ERROR


def encode_secded(data: Blocks) -> Bytes:
    """Check bits of 64-bit blocks, in the (72,64) code of Hsiao.

    Parameters
    ----------
    data : array of uint64
        Any shape; `pack_blocks` makes blocks of narrower words.

    Returns
    -------
    array of uint8
        Eight check bits a block, in the shape of `data`. Bit r is the parity of the data bits in row r.

    Raises
    ------
    ValueError
        If the data are not uint64.

    Notes
    -----
    Every column of the check matrix has an odd number of ones: the 56 of weight three, eight of weight five (11111000
    and its rotations, so that each row has 26 data bits) and the eight of weight one. Columns differ, so one error is
    found; two have an even syndrome, which is not a column, so two are never mistaken for one. Hsiao's rule fixes the
    weights and the balance of the rows; which eight columns of weight five, and the order, are a choice of this module.

    References
    ----------
    M. Y. Hsiao, "A class of optimal minimum odd-weight-column SEC-DED codes", IBM J. Res. Dev. 14, 395 (1970).
    R. W. Hamming, "Error detecting and error correcting codes", Bell Syst. Tech. J. 29, 147 (1950).

    Examples
    --------
    >>> data = np.array([0, 1, 2**64 - 1], dtype=np.uint64)
    >>> [f"{check:08b}" for check in encode_secded(data)]
    ['00000000', '00000111', '00000000']
    """
    data = checked_words("data", data, np.dtype(np.uint64), remedy="pack_blocks() makes blocks of words.")
    check = np.zeros(data.shape, dtype=np.uint8)
    for row, mask in enumerate(_ROWS):
        check |= (np.bitwise_count(data & mask) & np.uint8(1)) << np.uint8(row)
    return check


def decode_secded(data: Blocks, check: Bytes) -> tuple[Blocks, Bytes]:
    """Correct one wrong cell of 72, detect two.

    Parameters
    ----------
    data : array of uint64
        Blocks as read, any shape.
    check : array of uint8
        Their check bits as read, in the same shape.

    Returns
    -------
    data : array of uint64
        Corrected where that is possible, as read elsewhere. If no block has an error, the array that came in, no copy.
    status : array of uint8
        0 (`NO_ERROR`), 1 (`CORRECTED`, a data or a check bit) or 2 (`UNCORRECTABLE`).

    Raises
    ------
    ValueError
        If dtypes or shapes do not match.

    Notes
    -----
    By the number of wrong cells in a block of 72, counted exhaustively (the code is linear: the data do not matter):

    * one: all 72 corrected;
    * two: all 2,556 detected, status 2;
    * three: 33,568 of 59,640 (56.3 %) look like one wrong cell and are miscorrected, with status 1; the others are
      detected. None passes unseen, as no odd number of errors does;
    * four: 8,392 of 1,028,790 (0.8 %) pass unseen, with status 0; the others are detected.

    Examples
    --------
    >>> data = np.array([5, 6, 7], dtype=np.uint64)
    >>> check = encode_secded(data)
    >>> read = data ^ np.array([0, 1 << 63, 3], dtype=np.uint64)
    >>> decode_secded(read, check)
    (array([5, 6, 4], dtype=uint64), array([0, 1, 2], dtype=uint8))
    """
    own, data = encode_secded(data), np.asarray(data)
    syndrome = own ^ _checked_check("check", check, "data", own)
    status = np.zeros(data.shape, dtype=np.uint8)
    wrong = np.asarray(syndrome != 0)
    if wrong.any():
        found = syndrome[wrong]
        data = data.copy()
        data[wrong] ^= _FLIP[found]
        status[wrong] = _STATUS[found]
    return data, status


# Words in blocks.


def pack_blocks(words: Words, *, bits: int) -> Blocks:
    """Words in 64-bit blocks, as `encode_secded` takes them.

    Word i of the flattened array is in block i // n, its lowest bit at bit ``bits * (i % n)``, with n = 64 // bits
    words a block. The rest of the last block is zero.

    Parameters
    ----------
    words : array of uint8, uint16 or uint32
        Any shape; uint8 for 1, 2 and 8 bits, uint16 for 16, uint32 for 32.
    bits : int
        Cells a word.

    Returns
    -------
    array of uint64, shape (blocks,)
        A view of contiguous words of 8 bits and more that fill their blocks, on a little-endian machine; else a copy.

    Raises
    ------
    ValueError
        If dtype and bits do not match, or a word has bits set above them.

    Examples
    --------
    >>> [f"{block:x}" for block in pack_blocks(np.array([1, 2, 3, 4, 5], dtype=np.uint16), bits=16)]
    ['4000300020001', '5']
    """
    bits = _checked_bits(bits)
    words = checked_words("words", words, np.dtype(_WORD_DTYPES[bits]), remedy=f"Those of {bits} bits are.")
    if bits < 8 and words.size and words.max() >> bits:
        raise ArgumentError("words", f"must be < {1 << bits} for {bits} bits, got {words.max()}.")
    flat: Words = words.ravel()
    if bits == 1:
        flat = np.packbits(flat, bitorder="little")
    elif bits == 2:
        four = _padded(flat, 4).reshape(-1, 4)
        flat = np.bitwise_or.reduce(four << np.array([0, 2, 4, 6], dtype=np.uint8), axis=1)
    flat = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    return _padded(flat, 8 // flat.itemsize).view("<u8").astype(np.uint64, copy=False)


def unpack_blocks(blocks: Blocks, *, bits: int, shape: int | tuple[int, ...]) -> Words:
    """Words of 64-bit blocks: undoes `pack_blocks`.

    Parameters
    ----------
    blocks : array of uint64, shape (blocks,)
        As `pack_blocks` gave them. To get the status with each word, in flat order:
        ``np.repeat(status, 64 // bits)[:words.size]``.
    bits : int
        Cells a word.
    shape : int or tuple of int
        Of the words.

    Returns
    -------
    array of uint8, uint16 or uint32, of that shape
        A view of the blocks where `pack_blocks` could give one.

    Raises
    ------
    ValueError
        If the number of blocks is not that of the words.

    Examples
    --------
    >>> words = np.arange(6, dtype=np.uint32).reshape(2, 3)
    >>> np.array_equal(unpack_blocks(pack_blocks(words, bits=32), bits=32, shape=(2, 3)), words)
    True
    """
    bits = _checked_bits(bits)
    blocks = checked_words("blocks", blocks, np.dtype(np.uint64), remedy="pack_blocks() makes them.")
    sides = checked_shape(shape, least=0)
    count = math.prod(sides)
    needed = _blocks_of(count, bits)
    if blocks.shape != (needed,):
        rule = f"must be of shape ({needed},) for {count} words of {bits} bits"
        raise ArgumentError("blocks", f"{rule}, got {blocks.shape}.")
    stored = np.dtype(_WORD_DTYPES[bits])
    flat = np.ascontiguousarray(blocks, dtype="<u8").view(stored.newbyteorder("<")).astype(stored, copy=False)
    if bits == 1:
        flat = np.unpackbits(flat, bitorder="little")
    elif bits == 2:
        flat = (flat[:, None] >> np.array([0, 2, 4, 6], dtype=np.uint8) & 3).ravel()
    return flat[:count].reshape(sides)


def _padded(flat: Words, multiple: int) -> Words:
    """With zeros at the end, up to a `multiple` of elements; the array itself if it is one."""
    missing = -flat.size % multiple
    return np.concatenate([flat, np.zeros(missing, dtype=flat.dtype)]) if missing else flat


def _blocks_of(words: int, bits: int) -> int:
    return -(-words * bits // BLOCK_BITS)


def _checked_bits(bits: int) -> int:
    if isinstance(bits, bool) or bits not in _WORD_DTYPES:
        valid = ", ".join(map(str, _WORD_DTYPES))
        raise ArgumentError("bits", f"must be one of {valid}, got {bits!r}. It is Format.bits of the words.")
    return int(bits)


def _checked_check(name: str, check: Bytes, of: str, words: NDArray[Any]) -> Bytes:
    check = checked_words(name, check, np.dtype(np.uint8), remedy=f"It goes with {of}.")
    if check.shape != words.shape:
        raise ArgumentError(name, f"must have the shape {words.shape} of {of}, got {check.shape}.")
    return check
