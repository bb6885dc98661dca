"""Protection of words: check cells, correction, and zero in place of a word that is found wrong.

A word that is detected and not corrected reads as *zero*, as in the patent application on training in error-prone MRAM
[1]: in a network a missing number does little harm, a huge one much.

References
----------
.. [1] Gajek, Tzoufras, US 2020/0193282, claims. The code and the format of numbers are this project's choices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bridge.memory.codes import (
    PROTECTIONS,
    decode_secded,
    encode_secded,
    pack_blocks,
    parity_bit,
    parity_fails,
    unpack_blocks,
)
from bridge.memory.formats import Words
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_fields

CORRECTING = ("hamming", "hsiao", "ecc", "sec", "sec-ded", "sec_ded")  # other names of such codes


@dataclass(frozen=True)
class Decoded:
    """Words after decoding.

    Attributes
    ----------
    words : (n,) array of unsigned integers
    zeroed : (n,) boolean array, or None
        Words that read as zero; None: no word.
    corrected, detected : int
        Code words that were corrected; that were found wrong and were not.
    status : (code words,) array, or None
        Of each code word of SECDED, as of `decode_secded`; None if all are right.
    """

    words: Words
    zeroed: NDArray[np.bool_] | None = None
    corrected: int = 0
    detected: int = 0
    status: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Protection(Suggesting):
    """A guard by name: "none", "parity", "range" or "secded".

    Parameters
    ----------
    name : str
        *parity*: one check cell a word, detects every odd number of errors. *range*: no cells; a number beyond `limit`,
        or NaN, reads as zero. *secded*: eight check cells for each 64 data cells, corrects one error, detects
        two.
    limit : float, optional
        Of "range", and only of it; > 0.

    Raises
    ------
    ValueError
        For an unknown name, or a limit that is missing or not of "range".

    Examples
    --------
    >>> Protection("parity").overhead(32)
    0.03125
    """

    name: str = "none"
    limit: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if str(self.name).casefold() in CORRECTING:
            names = ", ".join(map(repr, PROTECTIONS))
            raise ArgumentError(
                "protection", f"must be one of {names}, got {self.name!r}. The code that corrects is 'secded'."
            )
        checked_choice("protection", self.name, PROTECTIONS)
        if (self.name == "range") != (self.limit is not None):
            raise ArgumentError("limit", f'must be given with "range" only, got {self.limit} for "{self.name}".')
        if self.limit is not None:
            checked_fields(self, limit="")

    def overhead(self, bits: int) -> float:
        """Check cells for each data cell, in words of `bits` cells."""
        return {"parity": 1 / bits, "secded": 8 / 64}.get(self.name, 0.0)

    def code_words(self, words: int, bits: int) -> int:
        """Code words that hold `words` of `bits` cells."""
        return {"parity": words, "secded": math.ceil(words * bits / 64)}.get(self.name, 0)

    @property
    def check_bits(self) -> int:
        """Check cells a code word."""
        return {"parity": 1, "secded": 8}.get(self.name, 0)

    def encode(self, words: Words, bits: int) -> NDArray[np.uint8]:
        """Return the check cells of (n,) words as one uint8 a code word."""
        if self.name == "parity":
            return parity_bit(words)
        if self.name == "secded":
            return encode_secded(pack_blocks(words, bits=bits))
        return np.empty(0, np.uint8)

    def decode(self, words: Words, check: NDArray[np.uint8], bits: int) -> Decoded:
        """Correct and detect."""
        if self.name == "parity":
            wrong = parity_fails(words, check)
            found = int(np.count_nonzero(wrong))
            return Decoded(words, wrong if found else None, detected=found)
        if self.name == "secded":
            blocks, status = decode_secded(pack_blocks(words, bits=bits), check)
            corrected, detected = int((status == 1).sum()), int((status == 2).sum())
            if not corrected and not detected:
                return Decoded(words)
            zeroed = np.repeat(status == 2, 64 // bits)[: words.size] if detected else None
            return Decoded(unpack_blocks(blocks, bits=bits, shape=words.shape), zeroed, corrected, detected, status)
        return Decoded(words)
