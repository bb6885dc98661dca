"""A study whose points are a function of their fields and train nothing."""

import pytest

from bnn.studies import worker
from mtjsim import plot_style


@pytest.fixture
def counted_points(monkeypatch):
    """Put a function in place of `run_point`; returns what takes it: recipe -> values. The calls are counted."""

    def use(values_of):
        calls = []

        def run_point(study, point, folder, data_dir, *, on_epoch=None):
            recipe = study.recipe_at(point)
            calls.append((*dict(point.shown).values(), point.repeat))
            values = values_of(recipe)
            own = {"key": study.key(point), "study": study.identity, "parameters": dict(point.shown)}
            own |= {"repeat": point.repeat, "seed": recipe.seed, "recipe": recipe.identity, "values": values}
            return own | {"version": "0", "seconds": 0.0, "core_seconds": 0.0}

        monkeypatch.setattr(worker, "run_point", run_point)
        monkeypatch.setattr(plot_style, "png_of", lambda figure: b"")  # it takes half of the time
        return calls

    return use
