"""Words of bits: against struct, NumPy and exact fractions; every pattern, every flip, every shape."""

import math
import struct
import warnings
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridge.memory.formats import FORMATS, Format, format_of, int8_scale
from physics import approx

SCALE = 0.37
FLOATS = {"fp16": (5, 10), "bf16": (8, 7), "fp32": (8, 23)}  # bits of exponent and fraction
ALL_16 = np.arange(1 << 16, dtype=np.uint16)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def make(name):
    return format_of(name, scale=SCALE if name == "int8" else None)


def nearest_pattern(value, exponent_bits, fraction_bits):
    """Pattern of the number nearest to `value`, ties to even, by exact fractions: the slow and obvious road."""
    sign = (math.copysign(1, value) < 0) << (exponent_bits + fraction_bits)
    infinity = ((1 << exponent_bits) - 1) << fraction_bits
    if math.isinf(value):
        return sign | infinity
    least = 2 - (1 << (exponent_bits - 1))  # exponent of the smallest normal number
    exponent = max(math.frexp(value)[1] - 1, least) if value else least
    steps = round(Fraction(abs(value)) / Fraction(2) ** (exponent - fraction_bits))  # Python rounds ties to even
    return sign | min(((exponent - least) << fraction_bits) + steps, infinity)


def value_of(pattern, exponent_bits, fraction_bits):
    """What IEEE 754-2019, section 3.4, says a pattern means."""
    sign = -1.0 if pattern >> (exponent_bits + fraction_bits) else 1.0
    exponent = (pattern >> fraction_bits) & ((1 << exponent_bits) - 1)
    fraction = pattern & ((1 << fraction_bits) - 1)
    bias = (1 << (exponent_bits - 1)) - 1
    if exponent == (1 << exponent_bits) - 1:
        return math.nan if fraction else sign * math.inf
    hidden = (1 << fraction_bits) if exponent else 0
    return sign * math.ldexp(hidden + fraction, max(exponent, 1) - bias - fraction_bits)


def same(one, other):
    """Bit for bit, NaN and the sign of zero included."""
    one, other = (np.asarray(x, dtype=np.float32) for x in (one, other))
    return one.shape == other.shape and np.array_equal(one.view(np.uint32), other.view(np.uint32))


def quiet(function):
    with np.errstate(all="ignore"):
        return function()


@pytest.mark.parametrize("name", FORMATS)
def test_layout(name):
    form = make(name)
    cells = {"binary": 1, "ternary": 2, "int8": 8, "fp16": 16, "bf16": 16, "fp32": 32}
    assert form.bits == cells[name]
    assert form.word_dtype == {1: np.uint8, 2: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.uint32}[form.bits]
    if name in FLOATS:
        exponent, fraction = FLOATS[name]
        assert form.exponent_bits == tuple(range(fraction, fraction + exponent))
        assert form.sign_bit == exponent + fraction == form.bits - 1
    else:
        assert form.exponent_bits == ()
        assert form.sign_bit == (7 if name == "int8" else None)


# Small formats: each word by hand.


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("binary", [-1, 1], [0, 1]),
        ("ternary", [0, 1, -1, -0.0], [0b00, 0b01, 0b10, 0b00]),
        ("int8", [0, SCALE, -SCALE, 127 * SCALE, -128 * SCALE], [0, 1, 0xFF, 0x7F, 0x80]),
        ("fp16", [0, 1, -2, 65504, 2**-24], [0, 0x3C00, 0xC000, 0x7BFF, 1]),
        ("bf16", [0, 1, -2, 3.140625], [0, 0x3F80, 0xC000, 0x4049]),
        ("fp32", [0, 1, -2, math.pi], [0, 0x3F800000, 0xC0000000, 0x40490FDB]),
    ],
)
def test_words_by_hand(name, values, words):
    form = make(name)
    coded = form.encode(values)
    assert coded.dtype == form.word_dtype
    assert coded.tolist() == words
    assert form.decode(coded) == approx(np.array(values), rel=1e-7)


def test_both_cells_of_a_ternary_word_in_ap_read_as_zero():
    decoded = format_of("ternary").decode(np.arange(4, dtype=np.uint8))
    assert decoded.tolist() == [0, 1, -1, 0]


def test_one_wrong_cell_never_turns_a_ternary_sign():
    form = format_of("ternary")
    for value in (-1.0, 1.0):
        flipped = form.encode(value) ^ np.array([1, 2], dtype=np.uint8)
        assert form.decode(flipped).tolist() == [0, 0]


def test_every_int8_word():
    """Two's complement, and what was read can be written back, -128 included."""
    words = np.arange(256, dtype=np.uint8)
    form = make("int8")
    expected = [np.float32(struct.unpack("b", bytes([w]))[0] * SCALE) for w in range(256)]
    assert same(form.decode(words), expected)
    assert np.array_equal(form.encode(form.decode(words)), words)


def test_int8_rounds_ties_to_even_and_says_when_it_is_full():
    form = format_of("int8", scale=0.5)
    assert form.encode([0.25, 0.75, -0.25, -0.75, 63.5, -64.25]).view(np.int8).tolist() == [0, 2, 0, -2, 127, -128]
    with pytest.raises(
        ValueError, match=r"values must round to -128..127 steps.*got 63.75 at \(1,\).*int8_scale.*satur"
    ):
        form.encode([0.0, 63.75])
    with pytest.raises(ValueError, match=r"got -64\.5"):
        form.encode(-64.5)
    full = format_of("int8", scale=0.5, overflow="saturate")
    assert full.encode([1e300, 63.75, -64.5, -1e300, 0.5]).view(np.int8).tolist() == [127, 127, -128, -128, 1]


def test_int8_near_a_tie_is_not_a_tie():
    """The quotient rounded to float32 would be 0.5, and go to 0."""
    scale = 0.1
    above = np.float32(0.05)  # 0.0500000007
    assert float(above) / scale > 0.5
    assert float(np.float32(above / np.float32(scale))) == 0.5
    assert format_of("int8", scale=scale).encode(above) == 1


@given(values=hnp.arrays(np.float32, SHAPES, elements=st.floats(-46, 46, width=32)))
def test_int8_is_off_by_half_a_step_at_most(values):
    form = make("int8")
    off = np.abs(form.decode(form.encode(values)) - values)
    assert np.all(off <= SCALE / 2 * (1 + 1e-5))


@given(st.lists(st.floats(-1e30, 1e30).filter(lambda x: abs(x) > 1e-30), min_size=1))
def test_the_scale_holds_all_values(values):
    words = format_of("int8", scale=int8_scale(values)).encode(values).view(np.int8)
    assert np.abs(words.astype(int)).max() == 127


# Floating point: every pattern, every flip, every road.


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_every_16_bit_pattern(name):
    form = format_of(name)
    decoded = form.decode(ALL_16)
    expected = np.array([value_of(int(w), *FLOATS[name]) for w in ALL_16])
    assert np.array_equal(decoded, expected, equal_nan=True)
    assert np.array_equal(np.signbit(decoded), ALL_16 >> 15)  # of -0.0 and NaN too
    assert np.array_equal(form.encode(decoded), ALL_16)
    from_double = form.encode(quiet(lambda: decoded.astype(np.float64)))
    nan = np.isnan(decoded)
    assert np.array_equal(from_double[~nan], ALL_16[~nan])
    assert np.isnan(form.decode(from_double[nan])).all()  # a processor makes a signalling NaN quiet on the way


def test_fp16_is_numpys():
    form = format_of("fp16")
    halves = ALL_16.view(np.float16)
    number = ~np.isnan(halves)
    assert same(form.decode(ALL_16)[number], halves[number].astype(np.float32))
    assert np.array_equal(form.encode(halves), ALL_16)


@pytest.mark.parametrize("name", FLOATS)
@given(value=st.floats(allow_nan=False) | st.floats(allow_nan=False, width=32) | st.floats(-1e5, 1e5))
def test_nearest_by_fractions(name, value):
    """From float64 too, rounded once."""
    form = format_of(name)
    assert form.encode(value) == nearest_pattern(value, *FLOATS[name])
    single = quiet(lambda: np.float32(value))
    assert form.encode(single) == nearest_pattern(float(single), *FLOATS[name])


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_ties_and_their_neighbours(name):
    """Midway between every two neighbours, and one float64 to either side."""
    form = format_of(name)
    lower = np.arange(nearest_pattern(math.inf, *FLOATS[name]) - 1, dtype=np.uint16)
    low, high = (form.decode(lower + np.uint16(k)).astype(np.float64) for k in (0, 1))
    middle = (low + high) / 2
    even = lower + (lower & 1)
    for sign in (1, -1):
        top = np.uint16(0x8000 if sign < 0 else 0)
        assert np.array_equal(form.encode(sign * middle), even | top)
        assert np.array_equal(form.encode(sign * np.nextafter(middle, 0)), lower | top)
        assert np.array_equal(form.encode(sign * np.nextafter(middle, np.inf)), (lower + np.uint16(1)) | top)
        if name == "bf16":  # float32 holds the ties of bf16, and its neighbours are the nearest that matter
            single = (sign * middle).astype(np.float32)
            assert np.array_equal(single, sign * middle)
            assert np.array_equal(form.encode(single), even | top)
            assert np.array_equal(form.encode(np.nextafter(single, np.float32(0))), lower | top)


@given(st.floats(-65519.9, 65519.9) | st.floats(-1e-4, 1e-4))
def test_fp16_against_struct(value):
    assert format_of("fp16").encode(value) == struct.unpack("<H", struct.pack("<e", value))[0]


@given(hnp.arrays(np.uint32, SHAPES))
def test_fp32_is_the_memory_itself(words):
    form = format_of("fp32")
    values = form.decode(words)
    assert same(values, words.view(np.float32))
    assert np.array_equal(form.encode(values), words)  # NaN with any payload
    if words.size:
        assert np.shares_memory(values, words)
        assert np.shares_memory(form.encode(values), words)


@pytest.mark.parametrize("name", FLOATS)
@given(data=st.data())
def test_what_each_flip_does(name, data):
    """One wrong cell: the value that IEEE 754 gives its pattern. By struct for fp32 and fp16."""
    form = format_of(name)
    pattern = data.draw(st.integers(0, (1 << form.bits) - 1))
    bit = data.draw(st.integers(0, form.bits - 1))
    flipped = pattern ^ (1 << bit)
    decoded = float(form.decode(np.array(flipped, dtype=form.word_dtype)))
    expected = value_of(flipped, *FLOATS[name])
    assert decoded == expected or (math.isnan(decoded) and math.isnan(expected))
    code = {"fp16": "<He", "fp32": "<If"}.get(name)
    if code and not math.isnan(decoded):
        assert decoded == struct.unpack(f"<{code[2]}", struct.pack(f"<{code[1]}", flipped))[0]


@pytest.mark.parametrize("name", FLOATS)
def test_flips_of_a_one(name):
    form = format_of(name)
    exponent, fraction = FLOATS[name]
    one = int(form.encode(1.0))
    flips = np.array([one ^ (1 << k) for k in range(form.bits)], dtype=form.word_dtype)
    values = form.decode(flips)
    assert values[form.sign_bit] == -1
    assert np.array_equal(values[:fraction], 1 + 2.0 ** np.arange(-fraction, 0))  # 1.5 at most
    assert values[form.exponent_bits[-1]] == math.inf  # 1 has all but the highest bit of the exponent
    lowered = 2.0 ** -(2.0 ** np.arange(exponent - 2))
    assert np.array_equal(values[list(form.exponent_bits[: exponent - 2])], lowered)


def test_flips_of_an_int8():
    form = format_of("int8", scale=1.0)
    word = form.encode(5.0)  # 0b101
    values = form.decode(word ^ (1 << np.arange(8)).astype(np.uint8))
    assert values.tolist() == [4, 7, 1, 13, 21, 37, 69, -123]


def test_special_values():
    special = np.array([-0.0, math.inf, -math.inf, 2.0**-149, -(2.0**-133), 2.0**-24], dtype=np.float32)
    assert same(format_of("fp32").decode(format_of("fp32").encode(special)), special)
    assert format_of("bf16").encode(special).tolist() == [0x8000, 0x7F80, 0xFF80, 0, 0x8001, 0x3380]
    assert format_of("fp16").encode(special).tolist() == [0x8000, 0x7C00, 0xFC00, 0, 0x8000, 0x0001]


def test_beyond_the_largest_is_infinity_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, (exponent, fraction) in FLOATS.items():
            form = format_of(name)
            top = 2.0 ** (2 ** (exponent - 1) - 1)
            largest = top * (2 - 2.0**-fraction)
            tie = top * (2 - 2.0 ** -(fraction + 1))  # to the next power of two, were there one
            assert form.decode(form.encode(np.nextafter(tie, 0))) == largest
            assert form.decode(form.encode(tie)) == math.inf
            assert form.decode(form.encode([-1e300])).tolist() == [-math.inf]


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_nan_stays_nan_and_keeps_sign_and_payload(name):
    """All upper and lower payloads of float32: none becomes infinity, none carries into the sign."""
    form = format_of(name)
    fraction = FLOATS[name][1]
    payload = np.concatenate([1 << np.arange(23), [0x7FFFFF, 0x7F8001, 0x400001]]).astype(np.uint32)
    for sign in (0, 1):
        bits = payload | np.uint32(0x7F800000 | sign << 31)
        words = form.encode(bits.view(np.float32))
        assert np.isnan(form.decode(words)).all()
        assert np.all(words >> 15 == sign)
        kept = payload >> (23 - fraction)
        assert np.array_equal(words & ((1 << fraction) - 1), np.where(kept, kept, 1 << (fraction - 1)))
        for word in bits.view(np.float32):  # one number, no array
            assert math.isnan(float(form.decode(form.encode(word))))
    assert math.isnan(float(form.decode(form.encode(math.nan))))


# Any shape, any stride, any type of number.


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_round_trip_of_any_shape_and_stride(name, data):
    form = make(name)
    patterns = st.integers(0, (1 << form.bits) - 1)
    words = data.draw(hnp.arrays(form.word_dtype, SHAPES, elements=patterns))
    if words.ndim:
        words = data.draw(
            st.sampled_from([words, words[::-1], words[..., ::2], words.T, np.broadcast_to(words, (2, *words.shape))])
        )
    before = words.copy()
    values = form.decode(words)
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float32
    assert values.shape == words.shape
    coded = form.encode(values)
    assert isinstance(coded, np.ndarray)
    assert coded.dtype == form.word_dtype
    assert coded.shape == words.shape
    assert np.array_equal(coded, np.where(words == 3, 0, words) if name == "ternary" else words)
    assert np.array_equal(words, before)
    assert same(form.decode(coded), values)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["i1", "i4", "<i8", ">i4", "f2", "<f4", ">f4", "<f8", ">f8", "longdouble"])
def test_any_type_of_number(name, dtype):
    values = np.array([[-1, 1, 1], [1, -1, -1]], dtype=dtype)
    form = format_of(name, scale=0.5 if name == "int8" else None)
    for kept in (values, np.asfortranarray(values), values[:, ::-1]):
        before = kept.copy()
        words = form.encode(kept)
        assert words.dtype == form.word_dtype
        assert np.array_equal(form.decode(words), kept)
        assert np.array_equal(kept, before)


@pytest.mark.parametrize("name", FORMATS)
def test_lists_scalars_and_nothing(name):
    form = make(name)
    assert form.encode(1).shape == ()
    assert form.decode(form.encode(1)[()]).shape == ()  # a NumPy scalar
    assert form.encode([[1.0], [-1.0]]).shape == (2, 1)
    assert form.encode(np.zeros((3, 0))).shape == (3, 0)
    assert form.decode(np.zeros((0, 2), dtype=form.word_dtype)).shape == (0, 2)


@pytest.mark.parametrize("name", ["fp16", "fp32"])
def test_a_float_of_the_same_width_is_not_copied(name):
    values = np.ones((4, 6), dtype={"fp16": np.float16, "fp32": np.float32}[name])
    for kept in (values, values[::2, ::3], values.T):
        assert np.shares_memory(format_of(name).encode(kept), values)


# Wrong input.


@pytest.mark.parametrize("name", ["binary", "ternary", "int8"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_word_for_what_is_not_finite(name, value):
    values = np.ones((2, 3))
    values[1, 2] = value
    with pytest.raises(ValueError, match=rf"values must .*{name}, got {value} at \(1, 2\)\. \w"):
        make(name).encode(values)
    with pytest.raises(ValueError, match=f"got {value}"):
        format_of("int8", scale=1.0, overflow="saturate").encode(value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("binary", 0, r"values must be -1 or \+1 for binary, got 0\. Binarize"),
        ("binary", [1, 0.5], r"got 0.5 at \(1,\)"),
        ("ternary", 2, r"values must be -1, 0 or \+1 for ternary, got 2\. Round"),
        ("ternary", -1e-30, "got -1e-30"),
        ("fp32", ["1.0"], r"values must be an array of real numbers, got \['1.0'\]"),
        ("fp32", np.array([True]), "values must be .*got dtype bool.*-1 and"),
        ("fp16", 1j, "values must be .*got 1j"),
        ("bf16", None, "values must be .*got None"),
        ("bf16", [[1.0], [2.0, 3.0]], "values must be .*got "),
    ],
)
def test_wrong_values(name, value, message):
    with pytest.raises(ValueError, match=message):
        make(name).encode(value)


def test_wrong_words():
    with pytest.raises(ValueError, match=r"words must be an array of uint16 for bf16, got int64\. encode"):
        format_of("bf16").decode(np.array([1]))
    with pytest.raises(ValueError, match="words must be an array of uint8 for binary, got list"):
        format_of("binary").decode([1])
    with pytest.raises(ValueError, match="words must be < 2 for binary, got 2: a word has 1 cell"):
        format_of("binary").decode(np.array([0, 2], dtype=np.uint8))
    with pytest.raises(ValueError, match="words must be < 4 for ternary, got 255: a word has 2 cells"):
        format_of("ternary").decode(np.array([255], dtype=np.uint8))


def test_unknown_format_lists_the_valid_ones_and_the_nearest():
    with pytest.raises(ValueError, match=r"format must be one of 'binary', .*'fp32', got 'bfloat16'.*Did you mean"):
        format_of("bfloat16")
    with pytest.raises(ValueError, match=r"got 'tenary'\. Did you mean 'ternary'"):
        format_of("tenary")


@pytest.mark.parametrize(
    ("name", "given_", "message"),
    [
        ("int8", {}, "scale must be the value of one step for int8, got None. int8_scale"),
        ("int8", {"scale": 0.0}, "scale must be finite and > 0, got 0"),
        ("int8", {"scale": -1.0}, "scale must be .*> 0, got -1"),
        ("int8", {"scale": math.nan}, "scale must be finite"),
        ("int8", {"scale": [1.0, 2.0]}, "scale must be one number"),
        ("int8", {"scale": "1"}, "scale must be a number"),
        ("int8", {"scale": 1e-40}, "scale must be between 1.2e-38 and 2.7e.36, got 1e-40.*nearer to 1"),
        ("int8", {"scale": 1e38}, "scale must be between"),
        ("int8", {"scale": 1.0, "overflow": "wrap"}, "overflow must be one of 'error', 'saturate', got 'wrap'"),
        ("fp16", {"scale": 1.0}, "scale must be None for fp16, got 1.0.*divide before"),
        ("fp32", {"overflow": "saturate"}, "overflow must be 'error' for fp32, got 'saturate'.*clip"),
    ],
)
def test_wrong_parameters(name, given_, message):
    with pytest.raises(ValueError, match=message):
        format_of(name, **given_)


def test_no_scale_of_nothing():
    for values in ([], [0.0, 0.0]):
        with pytest.raises(ValueError, match="values must have one that is not 0"):
            int8_scale(values)
    with pytest.raises(ValueError, match=r"values must be finite for int8, got nan at \(1,\)"):
        int8_scale([1.0, math.nan])


def test_frozen_and_comparable():
    assert format_of("fp16") == Format(name="fp16")
    assert len({format_of("fp16"), Format(name="fp16"), format_of("bf16"), make("int8")}) == 3
    with pytest.raises(FrozenInstanceError):
        format_of("fp16").name = "bf16"
