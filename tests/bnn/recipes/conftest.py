"""Small recipes that the tests of `bnn.recipes` share."""

import pytest

from bnn.recipes.recipe import Recipe

SMALL = {
    "title": "small",
    "source": "this test",
    "data": "digits",
    "model": {"name": "mlp", "inputs": 64, "hidden": [24, 16]},
    "device": {"preset": "arm_2021"},
    "memory": [{"holds": "activations", "current": "42uA", "pulse_width": "10ns", "errors": "independent"}],
    "training": {"epochs": 2, "batch_size": 128, "learning_rate": 0.02},
    "test": [{"name": "clean", "memory": []}, {"name": "with_errors", "draws": 2}],
}


@pytest.fixture
def small():
    """A maker of small recipes; each keyword replaces a table, None leaves it out."""

    def make(**tables):
        given = {**SMALL, **tables}
        return Recipe(name="small", **{name: table for name, table in given.items() if table is not None})

    return make
