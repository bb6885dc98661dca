"""Dataclasses with an unknown number are equal to their copies, on every Python."""

import pickle

import pytest

from bridge.ledger import Entry, Ledger
from bridge.write import OperatingPoint
from mtjsim.counts import ErrorCount

UNKNOWN = [
    Entry(memory="m", event="write 0", count=3, junction=float("nan")),
    OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.1, energies={"transistor": [[float("nan")] * 2] * 2}),
    ErrorCount(errors=0, trials=1, mean_energy=1e-13, energy_error=float("nan")),
]


@pytest.mark.parametrize("value", UNKNOWN, ids=lambda value: type(value).__name__)
def test_a_copy_of_an_instance_with_an_unknown_number_equals_it_and_has_its_hash(value):
    copy = pickle.loads(pickle.dumps(value))
    assert copy == value
    assert hash(copy) == hash(value)


@pytest.mark.parametrize(("one", "other"), [(1.0, float("nan")), (1.0, 2.0)])
def test_an_unknown_number_differs_from_a_known_one(one, other):
    entries = [Entry(memory="m", event="write 0", count=3, junction=joules) for joules in (one, other)]
    assert entries[0] != entries[1]
    assert len(Ledger(entries).entries) == 2


def test_entries_of_two_processes_with_an_unknown_price_merge():
    entry = Entry(memory="m", event="write 0", count=3, junction=float("nan"))
    both = Ledger([entry]) + pickle.loads(pickle.dumps(Ledger([entry])))
    assert [e.count for e in both] == [6]


def test_an_instance_of_another_class_is_not_equal():
    assert Entry(memory="m", event="write 0", count=3) != ErrorCount(errors=0, trials=1)
