"""Numbers as words of bits.

Bit k of a word, counted from the least significant, is cell k of the word. A set bit is a cell in AP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.memory.stochastic import Draws, floating, int8_steps
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_number
from mtjsim.wording import number_of

AT_ONCE = 1 << 15  # numbers that are converted at a time: they stay in the cache

Words = NDArray[np.unsignedinteger[Any]]
Values = NDArray[np.float32]
Overflow = Literal["error", "saturate"]
Rounding = Literal["nearest", "stochastic"]

FORMATS = ("binary", "ternary", "int8", "fp16", "bf16", "fp32")
ROUNDED = ("int8", "fp16", "bf16")  # formats that most float32 numbers are rounded to


class _Layout(NamedTuple):
    bits: int
    word_dtype: np.dtype[Any]
    sign_bit: int | None
    exponent_bits: tuple[int, ...]


_LAYOUTS = {
    "binary": _Layout(1, np.dtype(np.uint8), None, ()),
    "ternary": _Layout(2, np.dtype(np.uint8), None, ()),
    "int8": _Layout(8, np.dtype(np.uint8), 7, ()),
    "fp16": _Layout(16, np.dtype(np.uint16), 15, tuple(range(10, 15))),
    "bf16": _Layout(16, np.dtype(np.uint16), 15, tuple(range(7, 15))),
    "fp32": _Layout(32, np.dtype(np.uint32), 31, tuple(range(23, 31))),
}


def bits_of(name: str) -> int:
    """Return the cells of a word of a format, by its name."""
    return _LAYOUTS[name].bits


@dataclass(frozen=True, kw_only=True)
class Format(Suggesting):
    """How a number is laid out in cells.

    ========  =====  ==========================================================  ====================
    name      cells  value of a word                                             written
    ========  =====  ==========================================================  ====================
    binary    1      bit 0: 0 is -1, 1 is +1                                     exactly -1 or +1
    ternary   2      bit 0 - bit 1: 00 is 0, 01 is +1, 10 is -1, 11 is 0         exactly -1, 0 or +1
    int8      8      two's complement times `scale`; bit 7 weighs -128           nearest, ties to even
    fp16      16     IEEE 754 binary16: sign 15, exponent 14..10, fraction 9..0  nearest, ties to even
    bf16      16     upper half of fp32: sign 15, exponent 14..7, fraction 6..0  nearest, ties to even
    fp32      32     IEEE 754 binary32: sign 31, exponent 30..23, fraction 22..0 nearest, ties to even
    ========  =====  ==========================================================  ====================

    (Words of the ternary row are written as binary numbers, bit 1 first.)

    Parameters
    ----------
    name : str
        One of `FORMATS`.
    scale : float, optional
        Value of one step of int8, between 1.2e-38 and 2.7e36; int8 needs it, no other format has it. See `int8_scale`.
    overflow : {"error", "saturate"}
        Of a finite value that rounds to less than -128 or more than 127 steps of int8: refuse it, or write the end of
        the range. The floating-point formats have no such choice, see Notes.
    rounding : {"nearest", "stochastic"}
        Of int8, fp16 and bf16: to the nearest number, or to one of the two around a number, by chance, so that the mean
        is the number, see Notes.

    Raises
    ------
    ValueError
        For an unknown name, a scale where none belongs or none where one does, a choice of overflow or of rounding for
        another format.

    Notes
    -----
    *Ternary.* Cell 0 is the plus cell, cell 1 the minus cell, and the value is read as the difference of the two: +1 is
    (AP, P), -1 is (P, AP), and two equal cells conduct equally and read as 0. So zero has two patterns. (P, P) is the
    one that is written, so that the word 0 is the value 0; (AP, AP) only comes from errors. One wrong cell never turns
    +1 into -1: that takes both.

    *int8* has no zero point, and uses all 256 patterns: -128 is a number as any other, so that whatever is read, after
    errors too, can be written back.

    *fp16, bf16, fp32* are bit-true: infinities, NaN with its payload, subnormals and -0.0 go in and come out as they
    are. NaN stays NaN: a payload that does not fit is cut, and if nothing is left of it the quiet bit is set. A finite
    value beyond the largest one rounds to infinity, as IEEE 754 has it. Every value is rounded once, float64 input
    included; only integers beyond 2^53 and extended precision go through float64 first.

    *Stochastic rounding.* A number between two numbers of the format becomes the upper one with a chance equal to its
    distance from the lower one, in units of the gap, to 2^-32; a number of the format stays. So updates of less than
    half a step are not lost in the mean. Beyond the largest finite number of fp16 and bf16 the next one is taken to be
    the next power of two, which is written as infinity. What is beyond the ends of int8 becomes the end without a draw,
    or is refused (``overflow="error"``).

    References
    ----------
    IEEE Std 754-2019, sections 3.4 (layouts) and 4.3.1 (round to nearest, ties to even).
    S. Gupta, A. Agrawal, K. Gopalakrishnan, P. Narayanan, "Deep learning with limited numerical precision", ICML 2015,
    section 3 (stochastic rounding; there of fixed-point numbers).

    Examples
    --------
    >>> half = format_of("fp16")
    >>> words = half.encode([1.0, -2.0])
    >>> [f"{word:04x}" for word in words]
    ['3c00', 'c000']
    >>> flipped = words ^ np.uint16(1 << half.exponent_bits[-1])  # the highest bit of the exponent
    >>> half.decode(flipped)
    array([inf, -0.], dtype=float32)
    """

    name: str
    scale: float | None = None
    overflow: Overflow = "error"
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        checked_choice("format", self.name, FORMATS)
        checked_choice("overflow", self.overflow, ("error", "saturate"))
        checked_choice("rounding", self.rounding, ("nearest", "stochastic"))
        if self.rounding == "stochastic" and self.name not in ROUNDED:
            remedy = f"There is nothing to round by chance: take one of {', '.join(ROUNDED)}."
            raise ArgumentError("rounding", f"must be 'nearest' for {self.name}, got 'stochastic'. {remedy}")
        if self.name == "int8":
            object.__setattr__(self, "scale", _checked_scale(self.scale))
        elif self.scale is not None:
            remedy = "Only int8 has one: divide before encode() and multiply after decode()."
            raise ArgumentError("scale", f"must be None for {self.name}, got {self.scale!r}. {remedy}")
        elif self.overflow != "error":
            remedy = "Only int8 saturates: clip before encode()."
            raise ArgumentError("overflow", f"must be 'error' for {self.name}, got {self.overflow!r}. {remedy}")

    @property
    def bits(self) -> int:
        """Cells a word."""
        return bits_of(self.name)

    @property
    def word_dtype(self) -> np.dtype[Any]:
        """Of the array that `encode` returns and `decode` takes; the upper bits of a word that needs fewer are 0."""
        return _LAYOUTS[self.name].word_dtype

    @property
    def sign_bit(self) -> int | None:
        """The bit that is set in negative numbers; None for binary and ternary, which have none."""
        return _LAYOUTS[self.name].sign_bit

    @property
    def exponent_bits(self) -> tuple[int, ...]:
        """The bits of the exponent, lowest first; empty where there is none."""
        return _LAYOUTS[self.name].exponent_bits

    def encode(self, values: ArrayLike, *, draws: Draws | None = None) -> Words:
        """Words of numbers.

        Parameters
        ----------
        values : array_like of real numbers
            Any shape; contiguous or not.
        draws : array of uint32, optional
            Of stochastic rounding, and only of it: independent and uniform, one for each value, in its shape.

        Returns
        -------
        array of `word_dtype`
            In the shape of `values`. For float32 as fp32 and float16 as fp16 it is a view: no copy, and a write
            into the words changes the values.

        Raises
        ------
        ValueError
            If the format does not have a value: NaN and infinities in binary, ternary and int8, anything but -1, +1
            (and 0) in binary (ternary), out of range in int8 unless it saturates. For draws where none belong, or
            none where they do.
        """
        array = _real_numbers(values)
        if self.rounding == "stochastic":
            return self._drawn_words_of(array, _checked_draws(draws, array.shape))
        if draws is not None:
            raise ArgumentError("draws", "must be left out with rounding to nearest.")
        view = array.dtype.kind == "f" and array.dtype.itemsize == self.word_dtype.itemsize
        if view or array.size <= AT_ONCE or not array.flags.c_contiguous:
            return self._words_of(array, 0, array.shape)
        words, flat = np.empty(array.shape, self.word_dtype), array.reshape(-1)
        for start in range(0, array.size, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            words.reshape(-1)[part] = self._words_of(flat[part], start, array.shape)
        return words

    def _words_of(self, values: NDArray[Any], start: int, shape: tuple[int, ...]) -> Words:
        """Words of a part of an array of that shape, from element `start` on."""
        try:
            return np.asarray(_ENCODERS[self.name](values, self), dtype=self.word_dtype)
        except _NotInFormat as found:
            raise found.at(start, shape) from None

    def _drawn_words_of(self, values: NDArray[Any], draws: Draws) -> Words:
        """Words of numbers that are rounded stochastically first: the format then has them."""
        if self.name == "int8":
            try:
                _refuse_beyond_int8(values, self, drawn=True)
            except _NotInFormat as found:
                raise found.at(0, values.shape) from None
            return int8_steps(values, draws, scale=_step(self)).astype(np.int8).view(np.uint8)
        fraction_bits, least_exponent = (10, -14) if self.name == "fp16" else (7, -126)
        nearest = replace(self, rounding="nearest")
        words = nearest.encode(floating(values, draws, fraction_bits=fraction_bits, least_exponent=least_exponent))
        if (nan := np.isnan(values)).any():  # not through float64
            words[nan] = nearest.encode(values[nan])
        return words

    def decode(self, words: Words) -> Values:
        """Numbers of words.

        Parameters
        ----------
        words : array of `word_dtype`
            Any shape; contiguous or not.

        Returns
        -------
        array of float32
            In the shape of `words`; exact (int8: rounded once). For fp32 it is a view of the words.

        Raises
        ------
        ValueError
            If the words are of another dtype, or have bits set above the highest cell.
        """
        words = checked_words("words", words, self.word_dtype, for_what=self.name, remedy="encode() gives such words.")
        if self.bits < 8 and words.size and words.max() >> self.bits:
            cells = f"a word has {number_of(self.bits, 'cell')}"
            raise ArgumentError("words", f"must be < {1 << self.bits} for {self.name}, got {words.max()}: {cells}.")
        return np.asarray(_DECODERS[self.name](words, self), dtype=np.float32)


def format_of(
    name: str, *, scale: float | None = None, overflow: Overflow = "error", rounding: Rounding = "nearest"
) -> Format:
    """Format of this name; the parameters are those of `Format`.

    Examples
    --------
    >>> format_of("bf16").bits
    16
    >>> format_of("int8", scale=0.5).decode(np.array([3, 255], dtype=np.uint8))
    array([ 1.5, -0.5], dtype=float32)
    """
    return Format(name=name, scale=scale, overflow=overflow, rounding=rounding)


def int8_scale(values: ArrayLike) -> float:
    """Smallest symmetric scale that holds all values: their largest magnitude is 127 steps.

    Parameters
    ----------
    values : array_like of real numbers
        At least one of them not zero.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the values are empty, all zero or not finite.

    Examples
    --------
    >>> format_of("int8", scale=int8_scale([0.1, -2.54])).encode([0.1, -2.54]).view(np.int8)
    array([   5, -127], dtype=int8)
    """
    array = _real_numbers(values)
    try:
        _refuse(array, ~np.isfinite(array), "be finite for int8", "Mask them, or choose a floating-point format.")
    except _NotInFormat as found:
        raise found.at(0, array.shape) from None
    largest = float(np.abs(array).max(initial=0.0))
    if not largest:
        raise ArgumentError("values", "must have one that is not 0. Give format_of() a scale of your own.")
    return largest / 127


def _checked_scale(scale: float | None) -> float:
    if scale is None:
        raise ArgumentError("scale", "must be the value of one step for int8, got None. int8_scale(values) gives one.")
    scale, single = checked_number("scale", scale, "", zero_allowed=False), np.finfo(np.float32)
    if not float(single.tiny) <= scale <= float(single.max) / 128:
        rule = f"must be between {single.tiny:.2g} and {single.max / 128:.2g}, got {scale:g}"
        raise ArgumentError("scale", f"{rule}: 256 values must be normal float32. Bring them nearer to 1.")
    return scale


def checked_words(name: str, words: Any, dtype: np.dtype[Any], *, for_what: str = "", remedy: str) -> NDArray[Any]:
    """Return an array as it is; ArgumentError unless it is one of `dtype`."""
    if not isinstance(words, (np.ndarray, np.generic)) or words.dtype != dtype:
        got = words.dtype if isinstance(words, (np.ndarray, np.generic)) else type(words).__name__
        raise ArgumentError(name, f"must be an array of {dtype}{for_what and ' for ' + for_what}, got {got}. {remedy}")
    return np.asarray(words)


def _real_numbers(values: ArrayLike) -> NDArray[np.floating[Any]]:
    """Array of float16, float32 or float64 in native byte order; a view if it is one already."""
    try:
        array = np.asarray(values)
    except ValueError:  # a ragged list
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        got = f"dtype {array.dtype}" if isinstance(values, np.ndarray) else f"{values!r:.60}"
        raise ArgumentError("values", f"must be an array of real numbers, got {got}. -1 and +1 are, booleans are not.")
    wide = array.dtype.kind != "f" or array.dtype.itemsize > 8
    return array.astype(np.float64 if wide else array.dtype.newbyteorder("="), copy=False)


def _checked_draws(draws: Any, shape: tuple[int, ...]) -> Draws:
    array = isinstance(draws, np.ndarray)
    if not array or draws.dtype != np.uint32 or draws.shape != shape:
        got = f"{draws.dtype} of {draws.shape}" if array else type(draws).__name__
        rule = f"must be an array of uint32 of {shape} for stochastic rounding, got {got}"
        raise ArgumentError("draws", f"{rule}. A Memory draws them, from its seed and the number of the write.")
    return draws


class _NotInFormat(Exception):
    """A value that the format does not have, found in a part of an array."""

    def __init__(self, index: int, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.index, self.problem, self.remedy = index, problem, remedy

    def at(self, start: int, shape: tuple[int, ...]) -> ArgumentError:
        """Return the error that names the place, of a part that begins at element `start` of an array."""
        place = f" at {tuple(map(int, np.unravel_index(start + self.index, shape)))}" if shape else ""
        return ArgumentError("values", f"{self.problem}{place}. {self.remedy}")


def _refuse(values: NDArray[Any], bad: NDArray[np.bool_], rule: str, remedy: str) -> None:
    if np.any(bad):
        index = int(np.argmax(bad))
        raise _NotInFormat(index, f"must {rule}, got {values.reshape(-1)[index]:g}", remedy)


def _encode_binary(values: NDArray[Any], _: Format) -> Any:
    _refuse(values, np.abs(values) != 1, "be -1 or +1 for binary", "Binarize them first, for instance by their sign.")
    return (values > 0).astype(np.uint8)


def _decode_binary(words: Words, _: Format) -> Any:
    return np.float32(2) * words - np.float32(1)


def _encode_ternary(values: NDArray[Any], _: Format) -> Any:
    bad = (values != 0) & (np.abs(values) != 1)
    _refuse(values, bad, "be -1, 0 or +1 for ternary", "Round them to these states first.")
    return (values > 0).astype(np.uint8) | (values < 0).astype(np.uint8) << 1


def _decode_ternary(words: Words, _: Format) -> Any:
    return np.subtract(words & 1, words >> 1, dtype=np.float32)


def _step(form: Format) -> float:
    assert form.scale is not None
    return form.scale


def _refuse_beyond_int8(values: NDArray[Any], form: Format, *, drawn: bool) -> None:
    """Refuse what int8 does not have: what rounds beyond its ends, or, by chance, may."""
    _refuse(values, ~np.isfinite(values), "be finite for int8", "A floating-point format holds NaN and infinities.")
    if form.overflow == "saturate":
        return
    if drawn:
        least, most = _decode_int8(np.array([128, 127], np.uint8), form).astype(np.float64)
        bad = (values < least) | (values > most)
    else:
        steps = _steps(values, form)
        bad = (steps < -128) | (steps > 127)
    remedy = f"Take scale=int8_scale(values), or overflow='saturate' (scale is {form.scale:g} now)."
    _refuse(values, bad, "round to -128..127 steps of scale for int8", remedy)


def _steps(values: NDArray[Any], form: Format) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # infinity is out of range too
        # In float64: a float32 quotient next to a tie would round to the tie.
        steps = np.asarray(np.divide(values, _step(form), dtype=np.float64))
    return np.rint(steps, out=steps)


def _encode_int8(values: NDArray[Any], form: Format) -> Any:
    _refuse_beyond_int8(values, form, drawn=False)
    return np.clip(_steps(values, form), -128, 127).astype(np.int8).view(np.uint8)


def _decode_int8(words: Words, form: Format) -> Any:
    values = np.empty(words.shape, dtype=np.float32)
    return np.multiply(words.view(np.int8), _step(form), out=values, dtype=np.float64, casting="same_kind")


def _encode_fp16(values: NDArray[Any], _: Format) -> Any:
    if values.dtype == np.float16:
        return values.view(np.uint16)
    with np.errstate(all="ignore"):  # infinity, subnormals and NaN are valid results
        words = values.astype(np.float16).view(np.uint16)
    nan = np.isnan(values)
    if nan.any():  # by hand: a processor may set the quiet bit, the format does not
        words[nan] = _cut_nan(_single_bits(values[nan]), fraction_bits=10, exponent=0x7C00)
    return words


def _decode_fp16(words: Words, _: Format) -> Any:
    with np.errstate(invalid="ignore"):
        values = words.view(np.float16).astype(np.float32)
    nan = np.isnan(values)
    if nan.any():
        bits = words[nan].astype(np.uint32)
        values.view(np.uint32)[nan] = (bits & 0x8000) << 16 | 0x7F800000 | (bits & 0x3FF) << 13
    return values


def _encode_bf16(values: NDArray[Any], _: Format) -> Any:
    bits = _odd_single_bits(values) if values.dtype == np.float64 else _single_bits(values)
    nan = np.isnan(values)
    with np.errstate(over="ignore"):  # of a NaN, put right below
        # Half of the last place is added, less one if the last bit is even: ties go to even, and a carry may reach the
        # exponent, as it must.
        words = np.asarray(bits + (0x7FFF + (bits >> 16 & 1)) >> 16, dtype=np.uint16)
    if nan.any():
        words[nan] = _cut_nan(bits[nan], fraction_bits=7, exponent=0x7F80)
    return words


def _decode_bf16(words: Words, _: Format) -> Any:
    return (words.astype(np.uint32) << 16).view(np.float32)


def _encode_fp32(values: NDArray[Any], _: Format) -> Any:
    return _single_bits(values)


def _decode_fp32(words: Words, _: Format) -> Any:
    return words.view(np.float32)


def _single_bits(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Bits of the values rounded to float32; a view if they are float32."""
    with np.errstate(all="ignore"):
        return values.astype(np.float32, copy=False).view(np.uint32)


def _odd_single_bits(values: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Bits of the values rounded to float32 by truncation, with the last bit set where something was cut off.

    A second rounding, to fewer bits, then gives what one rounding of the float64 would: the last bit keeps a value next
    to a tie from becoming the tie.
    """
    bits = _single_bits(values)
    single = bits.view(np.float32).astype(np.float64)
    bits -= np.abs(single) > np.abs(values)
    bits |= (single != values) & ~np.isnan(values)
    return bits


def _cut_nan(bits: NDArray[np.uint32], *, fraction_bits: int, exponent: int) -> NDArray[np.uint16]:
    """16-bit NaN with the sign and the upper payload of float32 ones; quiet if nothing else is left of the payload."""
    payload = (bits & 0x7FFFFF) >> (23 - fraction_bits)
    payload[payload == 0] = 1 << (fraction_bits - 1)
    return ((bits >> 16 & 0x8000) | exponent | payload).astype(np.uint16)


_ENCODERS: dict[str, Callable[[NDArray[Any], Format], Any]] = {
    "binary": _encode_binary,
    "ternary": _encode_ternary,
    "int8": _encode_int8,
    "fp16": _encode_fp16,
    "bf16": _encode_bf16,
    "fp32": _encode_fp32,
}
_DECODERS: dict[str, Callable[[Words, Format], Any]] = {
    "binary": _decode_binary,
    "ternary": _decode_ternary,
    "int8": _decode_int8,
    "fp16": _decode_fp16,
    "bf16": _decode_bf16,
    "fp32": _decode_fp32,
}
