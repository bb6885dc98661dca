"""Protections: every single error corrected, every double detected, triples counted; words in blocks and back."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridge.memory.codes import (
    CORRECTED,
    HSIAO_COLUMNS,
    NO_ERROR,
    PROTECTIONS,
    UNCORRECTABLE,
    decode_secded,
    encode_secded,
    pack_blocks,
    parity_bit,
    parity_fails,
    range_fails,
    unpack_blocks,
)
from bridge.memory.formats import FORMATS, format_of
from bridge.memory.protection import Protection

DTYPES = {1: np.uint8, 2: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.uint32}
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)


def random_blocks(count, seed):
    return np.random.default_rng(seed).integers(0, 1 << 64, size=count, dtype=np.uint64, endpoint=False)


def errors_of(weight):
    """All patterns of so many wrong cells among 72: data and check parts."""
    places = np.array(list(combinations(range(72), weight)))
    data_bit = np.where(places < 64, np.uint64(1) << np.minimum(places, 63).astype(np.uint64), np.uint64(0))
    check_bit = np.where(places >= 64, 1 << np.maximum(places - 64, 0), 0).astype(np.uint8)
    return np.bitwise_xor.reduce(data_bit, axis=1), np.bitwise_xor.reduce(check_bit, axis=1)


def slow_check_bits(block):
    """Column by column: the XOR of the columns of the bits that are set."""
    check = 0
    for bit in range(64):
        if block >> bit & 1:
            check ^= HSIAO_COLUMNS[bit]
    return check


# The code itself.


def test_hsiaos_conditions():
    """Columns differ and have odd weight, the least weights there are; the rows are balanced."""
    weights = [column.bit_count() for column in HSIAO_COLUMNS]
    assert len(set(HSIAO_COLUMNS)) == 72
    assert [weights.count(w) for w in (1, 3, 5, 7)] == [8, 56, 8, 0]
    assert HSIAO_COLUMNS[64:] == tuple(1 << row for row in range(8))  # systematic
    assert {sum(column >> row & 1 for column in HSIAO_COLUMNS) for row in range(8)} == {27}


@given(hnp.arrays(np.uint64, SHAPES))
def test_check_bits_against_the_slow_road(data):
    check = encode_secded(data)
    assert check.dtype == np.uint8
    assert check.shape == data.shape
    assert check.ravel().tolist() == [slow_check_bits(int(block)) for block in data.ravel()]


@given(hnp.arrays(np.uint64, SHAPES))
def test_without_errors_nothing_is_copied(data):
    decoded, status = decode_secded(data, encode_secded(data))
    assert decoded is data
    assert status.shape == data.shape
    assert not status.any()


@pytest.mark.parametrize("seed", range(20))
def test_every_single_error_is_corrected(seed):
    """64 data bits and 8 check bits, a new random word for each."""
    data = random_blocks(72, seed)
    wrong_data, wrong_check = errors_of(1)
    read, check = data ^ wrong_data, encode_secded(data) ^ wrong_check
    before = read.copy(), check.copy()
    decoded, status = decode_secded(read, check)
    assert np.array_equal(decoded, data)
    assert np.all(status == CORRECTED)
    assert np.array_equal(read, before[0])  # what was read stays what was read
    assert np.array_equal(check, before[1])


@pytest.mark.parametrize("seed", range(20))
def test_every_double_error_is_detected(seed):
    wrong_data, wrong_check = errors_of(2)
    assert wrong_data.size == comb(72, 2) == 2556
    data = random_blocks(wrong_data.size, seed)
    decoded, status = decode_secded(data ^ wrong_data, encode_secded(data) ^ wrong_check)
    assert np.all(status == UNCORRECTABLE)
    assert np.array_equal(decoded, data ^ wrong_data)  # as read


def test_triple_errors_as_documented():
    wrong_data, wrong_check = errors_of(3)
    assert wrong_data.size == comb(72, 3) == 59_640
    data = random_blocks(wrong_data.size, 1)
    decoded, status = decode_secded(data ^ wrong_data, encode_secded(data) ^ wrong_check)
    assert np.all(status != NO_ERROR)
    assert np.count_nonzero(status == CORRECTED) == 33_568
    flips = np.bitwise_count(decoded ^ data)[status == CORRECTED]
    assert flips.min() >= 1  # none of them came out right
    assert flips.max() == 4
    assert "33,568 of 59,640" in decode_secded.__doc__


def test_fourfold_errors_as_documented():
    """Two pairs with the same syndrome make four errors that cancel; three ways to pair the four."""
    pairs = [a ^ b for a, b in combinations(HSIAO_COLUMNS, 2)]
    unseen, rest = divmod(sum(comb(int(n), 2) for n in np.bincount(pairs)), 3)
    assert rest == 0
    assert (unseen, comb(72, 4)) == (8_392, 1_028_790)
    assert "8,392 of 1,028,790" in decode_secded.__doc__
    four = next(
        {*one, *other}
        for one, other in combinations(combinations(range(64), 2), 2)
        if HSIAO_COLUMNS[one[0]] ^ HSIAO_COLUMNS[one[1]] == HSIAO_COLUMNS[other[0]] ^ HSIAO_COLUMNS[other[1]]
    )
    data = random_blocks(1, 2)
    read = data ^ np.uint64(sum(1 << bit for bit in four))
    assert decode_secded(read, encode_secded(data))[1] == NO_ERROR


def test_a_code_with_an_even_column_would_be_seen():
    """Negative control: with one column of weight two, some double errors look like single ones."""
    columns = [0b11, *HSIAO_COLUMNS[1:]]
    assert {a ^ b for a, b in combinations(columns, 2)} & set(columns)
    assert not {a ^ b for a, b in combinations(HSIAO_COLUMNS, 2)} & set(HSIAO_COLUMNS)


def test_few_errors_among_many_blocks_of_any_layout():
    data = random_blocks((6, 10, 4), 3)
    for kept in (data, data[::2, ::-1], data.T, np.asfortranarray(data), data[0, 0, 0:1].reshape(())):
        check = encode_secded(kept)
        read, wrong = kept.copy(), check.copy()
        first, last = (0,) * kept.ndim, (-1,) * kept.ndim
        read[first] ^= np.uint64(1 << 40)
        if kept.ndim:
            wrong[last] ^= np.uint8(0b11)
        decoded, status = decode_secded(read, wrong)
        assert np.array_equal(decoded, kept)
        assert status[first] == CORRECTED
        assert status[last] == (UNCORRECTABLE if kept.ndim else CORRECTED)
        assert np.count_nonzero(status) == min(kept.size, 2)


# Parity and range.


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.uint32]), SHAPES))
def test_word_and_parity_bit_have_an_even_number_of_ones(words):
    parity = parity_bit(words)
    assert parity.dtype == np.uint8
    assert parity.shape == words.shape
    ones = [int(w).bit_count() + int(p) for w, p in zip(words.ravel(), parity.ravel(), strict=True)]
    assert all(n % 2 == 0 for n in ones)
    assert not parity_fails(words, parity).any()
    assert parity_fails(words, parity ^ np.uint8(1)).all()


@pytest.mark.parametrize("name", FORMATS)
def test_parity_sees_every_odd_number_of_errors_and_no_even_one(name):
    form = format_of(name, scale=1.0 if name == "int8" else None)
    cells = form.bits + 1
    flips = np.arange(1 << min(cells, 17), dtype=np.uint64)
    if cells > 17:
        flips = random_blocks(100_000, 4) & np.uint64((1 << cells) - 1)
    words = (random_blocks(flips.size, 5) & np.uint64((1 << form.bits) - 1)).astype(form.word_dtype)
    wrong_words = words ^ (flips & np.uint64((1 << form.bits) - 1)).astype(form.word_dtype)
    wrong_parity = parity_bit(words) ^ (flips >> np.uint64(form.bits)).astype(np.uint8)
    assert np.array_equal(parity_fails(wrong_words, wrong_parity), np.bitwise_count(flips) % 2 == 1)


def test_range_takes_the_limit_itself_and_refuses_nan():
    values = np.array([[2.0, -2.0, 0.0], [2.0000002, -np.inf, np.nan]], dtype=np.float32)
    assert range_fails(values, limit=2.0).tolist() == [[False] * 3, [True] * 3]
    assert range_fails(3.0, limit=2.0).shape == ()


def test_range_catches_what_a_flip_in_the_top_of_an_exponent_does():
    form = format_of("bf16")
    weights = np.random.default_rng(6).uniform(-1, 1, 1000)
    top = form.word_dtype.type(1 << form.exponent_bits[-1])
    assert range_fails(form.decode(form.encode(weights) ^ top), limit=1.0).all()
    assert not range_fails(form.decode(form.encode(weights)), limit=1.0).any()


# Cells.


@given(st.sampled_from(list(DTYPES)), st.integers(0, 10_000))
def test_check_cells_of_whole_and_of_last_blocks(bits, words):
    blocks = pack_blocks(np.zeros(words, dtype=DTYPES[bits]), bits=bits)
    guards = [Protection(name, limit=1.0 if name == "range" else None) for name in PROTECTIONS]
    cells = [guard.check_bits * guard.code_words(words, bits) for guard in guards]
    assert cells == [0, words, 0, 8 * blocks.size]
    assert [guard.overhead(bits) for guard in guards] == [0, 1 / bits, 0, 0.125]


# Words in blocks.


@given(data=st.data(), bits=st.sampled_from(list(DTYPES)))
def test_words_in_blocks_and_back(data, bits):
    words = data.draw(hnp.arrays(DTYPES[bits], SHAPES, elements=st.integers(0, (1 << bits) - 1)))
    if words.ndim:
        words = data.draw(st.sampled_from([words, words[::-1], words[..., ::2], words.T]))
    blocks = pack_blocks(words, bits=bits)
    whole = sum(int(word) << (bits * i) for i, word in enumerate(words.ravel()))  # one long number, word 0 lowest
    assert blocks.dtype == np.uint64
    assert blocks.tolist() == [whole >> (64 * k) & (2**64 - 1) for k in range(-(-words.size * bits // 64))]
    back = unpack_blocks(blocks, bits=bits, shape=words.shape)
    assert back.dtype == words.dtype
    assert back.shape == words.shape
    assert np.array_equal(back, words)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_whole_blocks_are_views(bits):
    words = np.arange(16, dtype=DTYPES[bits])
    blocks = pack_blocks(words, bits=bits)
    assert np.shares_memory(blocks, words)
    assert np.shares_memory(unpack_blocks(blocks, bits=bits, shape=(4, 4)), blocks)


@pytest.mark.parametrize("name", FORMATS)
def test_one_wrong_cell_a_block_does_no_harm(name):
    """From values to values: formats, blocks and the code together."""
    form = format_of(name, scale=0.01 if name == "int8" else None)
    values = np.random.default_rng(7).choice([-1.0, 1.0], size=(13, 7)).astype(np.float32)
    blocks = pack_blocks(form.encode(values), bits=form.bits)
    wrong = blocks ^ (np.uint64(1) << np.arange(blocks.size, dtype=np.uint64) % np.uint64(27))
    decoded, status = decode_secded(wrong, encode_secded(blocks))
    assert np.all(status == CORRECTED)
    read = form.decode(unpack_blocks(decoded, bits=form.bits, shape=values.shape))
    assert np.array_equal(read, form.decode(form.encode(values)))
    of_words = np.repeat(status, 64 // form.bits)[: values.size]  # as the docstring says
    assert of_words.size == values.size


# Wrong input.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack_blocks(np.zeros(1, np.uint8), bits=12), r"bits must be one of 1, 2, 8, 16, 32, got 12\. It is"),
        (lambda: parity_bit(np.array([1])), "words must be unsigned integers, got int64.*encode"),
        (lambda: parity_bit([1]), "words must be .*got list"),
        (lambda: parity_fails(np.zeros(3, np.uint8), np.zeros(2, np.uint8)), r"parity must have the shape \(3,\)"),
        (lambda: parity_fails(np.zeros(1, np.uint8), np.zeros(1)), "parity must be an array of uint8, got float64"),
        (lambda: parity_fails(np.zeros(1, np.uint8), np.full(1, 2, np.uint8)), "parity must be 0 or 1, got 2"),
        (lambda: range_fails([1.0], limit=0.0), "limit must be finite and > 0, got 0"),
        (lambda: range_fails([1.0], limit=np.nan), "limit must be finite"),
        (lambda: encode_secded(np.zeros(1, np.uint32)), r"data must be an array of uint64, got uint32\. pack_blocks"),
        (lambda: decode_secded(np.zeros(2, np.uint64), np.zeros(1, np.uint8)), r"check must have the shape \(2,\)"),
        (lambda: decode_secded(np.zeros(1, np.uint64), np.zeros(1, int)), "check must be an array of uint8"),
        (
            lambda: pack_blocks(np.zeros(1, np.uint8), bits=16),
            r"words must be an array of uint16, got uint8\. Those of 16 bits",
        ),
        (lambda: pack_blocks(np.full(1, 4, np.uint8), bits=2), "words must be < 4 for 2 bits, got 4"),
        (lambda: unpack_blocks(np.zeros(2, np.uint64), bits=8, shape=8), r"blocks must be of shape \(1,\) for 8 words"),
        (lambda: unpack_blocks(np.zeros(1, np.uint64), bits=8, shape=(2, -4)), "shape must be a whole number >= 0"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
