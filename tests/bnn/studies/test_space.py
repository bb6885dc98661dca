"""Spaces over the fields of a recipe: points, keys, identities, and what is refused."""

import datetime
import math

import numpy as np
import pytest

import bnn
from bnn.recipes.recipe import load_recipe
from bnn.studies.dimensions import flat
from bnn.studies.plans import plan_of
from bnn.studies.run import checked_points, run_study
from bnn.studies.space import Study, list_studies, load_study

RATE = "memory.activations.error_rate"
HELD_OUT = {"data.validation": 0.2, "test": [{"name": "held_out", "images": "validation"}]}


def study(**tables):
    return Study(**{"name": "mine", "recipe": "digits_mlp", "space": {RATE: [0.01, 0.1]}, **tables})


def shown(points):
    return [(*dict(point.shown).values(), point.repeat) for point in points]


# ---- points ----------------------------------------------------------------------------------------------------------


def test_a_grid_has_every_combination_and_the_last_dimension_changes_first():
    mine = study(space={RATE: [0.01, 0.1], "training.epochs": [1, 2, 3]}, repeats=2)
    expected = [(rate, epochs, repeat) for rate in (0.01, 0.1) for epochs in (1, 2, 3) for repeat in (0, 1)]
    assert shown(mine.grid()) == expected
    assert len({mine.key(point) for point in mine.grid()}) == 12


def test_arms_are_the_first_dimension_and_may_have_several_fields_or_none():
    arms = {"plain": {}, "worst": {"memory": {"activations": {"errors": "independent", "error_rate": 0.3}}}}
    mine = study(recipe="digits_mlp", arm=arms, space={"training.epochs": [1]})
    assert shown(mine.grid()) == [("plain", 1, 0), ("worst", 1, 0)]
    plain, worst = (mine.recipe_at(point) for point in mine.grid())
    assert plain.value(RATE) == load_recipe("digits_mlp").value(RATE)
    assert (worst.value(RATE), worst.value("memory.activations.errors")) == (0.3, "independent")


def test_repeats_are_paired_over_points_by_their_seeds():
    mine = study(repeats=3, seed=5)
    seeds = [[mine.recipe_at(point).seed for point in mine.grid()[start : start + 3]] for start in (0, 3)]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
    assert mine.recipe_at(study(repeats=3, seed=6).grid()[0]).seed == seeds[0][0]
    assert study(repeats=3, seed=6).recipe_at(mine.grid()[0]).seed != seeds[0][0]


def test_a_larger_grid_more_repeats_and_another_sampler_keep_the_keys():
    small, large = study(), study(space={RATE: [0.001, 0.01, 0.1]}, repeats=2)
    keys = {large.key(point) for point in large.grid()}
    assert {small.key(point) for point in small.grid()} < keys
    drawn = study(sampler="random", trials=3, objective={"held_out.accuracy": "maximize"}, set=HELD_OUT)
    assert {drawn.key(point) for point in plan_of(drawn).points({})} <= {
        study(set=HELD_OUT).key(p) for p in study().grid()
    }


def test_a_quantity_with_a_unit_has_the_key_of_its_number():
    field = "memory.activations.current"
    fields = {RATE: None, field: "50uA", "memory.activations.pulse_width": "10ns", "device.preset": "arm_2021"}
    recipe = load_recipe("digits_mlp").replaced(fields)
    typed, bare = (study(recipe=recipe, space={field: values}) for values in (["40uA", "50uA"], [4e-5, 5e-5]))
    arms = study(recipe=recipe, space={}, arm={"low": {field: "40uA"}, "high": {field: 5e-5}})
    assert [typed.key(p) for p in typed.grid()] == [bare.key(p) for p in bare.grid()]
    assert [arms.recipe_at(p).identity for p in arms.grid()] == [bare.recipe_at(p).identity for p in bare.grid()]
    assert [arms.key(p) for p in arms.grid()] == [bare.key(p) for p in bare.grid()]


def test_titles_and_figures_are_in_no_identity_and_the_seed_is():
    mine = study()
    assert study(title="x", source="y", figure={"x": RATE}, report={"values": []}).declaration == mine.declaration
    assert study(repeats=2).identity == mine.identity
    assert study(repeats=2).declaration != mine.declaration
    assert study(seed=1).identity != mine.identity
    assert study(set={"training.epochs": 2}).identity != mine.identity


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"low": 0.01, "high": 0.03, "count": 3}, (0.01, 0.02, 0.03)),
        ({"low": 0.001, "high": 0.1, "count": 3, "log": True}, (0.001, 0.01, 0.1)),
        (np.array([0.25, 0.5]), (0.25, 0.5)),
    ],
)
def test_a_range_with_a_count_is_a_list_and_so_is_an_array(given, values):
    assert study(space={RATE: given}).dimensions[0].values == values


def test_a_range_of_whole_numbers_is_of_whole_numbers():
    (epochs,) = study(space={"training.epochs": {"low": 1, "high": 5, "count": 3}}).dimensions
    assert epochs.values == (1, 3, 5)
    assert {type(value) for value in epochs.values} == {int}
    checked_points(study(space={"training.epochs": {"low": 1, "high": 5, "count": 3}}), None)


def test_lists_and_tables_are_values_too():
    space = {"model.hidden": [[16], [16, 16]], "memory.activations.policy": ["plain", {"read_first": True}]}
    mine = study(space=space, set={"memory.activations.errors": "overwrite"})
    assert [mine.recipe_at(point).value("model.hidden") for point in mine.grid()] == [[16], [16], [16, 16], [16, 16]]
    assert mine.recipe_at(mine.grid()[1]).value("memory.activations.policy") == {"read_first": True}
    assert len({mine.key(point) for point in mine.grid()}) == 4


def test_a_field_is_given_once_with_or_without_quotation_marks():
    assert flat("space", {"training": {"epochs": [1]}}) == flat("space", {"training.epochs": [1]})
    with pytest.raises(ValueError, match=r"space\.training\.epochs must be given once"):
        study(space={"training": {"epochs": [1]}, "training.epochs": [2]})


# ---- files -----------------------------------------------------------------------------------------------------------


def test_shipped_studies_can_be_read():
    for name in list_studies():
        mine = load_study(name)
        assert mine.name == name
        assert mine.title
        assert mine.tables["source"]
    grid = load_study("digits_grid")
    assert len(grid.grid()) == 36
    assert bnn.load_study is load_study


def test_a_recipe_is_found_from_the_folder_of_the_study(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(
        'data = "digits"\nmodel = "mlp"\n[training]\nepochs = 1\nbatch_size = 64\nlearning_rate = 0.1\n'
    )
    (tmp_path / "mine.toml").write_text('recipe = "own.toml"\n[space]\ntraining.epochs = [1, 2]\n')
    monkeypatch.chdir("/")
    mine = load_study(tmp_path / "mine.toml")
    assert (mine.name, mine.recipe.name, len(mine.grid())) == ("mine", "own", 2)


# ---- what is refused -------------------------------------------------------------------------------------------------

BISECT = {"field": RATE, "low": 0.01, "high": 0.4, "value": "with_errors.accuracy", "level": 0.9}
CHOICE = {"trials": 3, "objective": {"held_out.accuracy": "maximize"}, "set": HELD_OUT}


def bisecting(**changes):
    table = {name: value for name, value in {**BISECT, **changes}.items() if value is not None}
    return {"sampler": "bisection", "space": {}, "bisect": table}


def choosing(**changes):
    return {"sampler": "tpe", **{name: value for name, value in {**CHOICE, **changes}.items() if value is not None}}


WRONG = [
    ({"spac": {}}, "a field of the study must be one of .*Did you mean 'space'"),
    ({"recipe": None}, "recipe must be given, a name, a path or a table; or a task, and not both"),
    ({"recipe": "digit_mlp"}, "recipe must be one of .*Did you mean 'digits_mlp'"),
    ({"recipe": 3}, "recipe must be"),
    ({"name": 3}, "name must be a text, got 3"),
    ({"title": 3}, "title must be a text, got 3"),
    ({"seed": -1}, "seed must be a whole number >= 0"),
    ({"sampler": "gird"}, "sampler must be one of .*Did you mean 'grid'"),
    ({"sampler": ["grid"]}, "sampler must be one of"),
    ({"repeats": 0}, "repeats must be a whole number >= 1, got 0"),
    ({"repeats": 1.5}, "repeats must be a whole number >= 1, got 1.5"),
    ({"repeats": 10**9}, "space must have at most 1,000,000 points"),
    ({"retries": -1}, "retries must be a whole number >= 0"),
    ({"space": {}}, "space must have a field: without one there is only a recipe"),
    ({"space": 3}, "space must be a table, got 3"),
    ({"space": {"training.epochs": []}}, "space.training.epochs must have a value, got an empty list"),
    ({"space": {"training.epochs": 3}}, "space.training.epochs must be a table"),
    ({"space": {"training.epochs": [1, 1]}}, "space.training.epochs must have different values"),
    ({"space": {"training.epochs": [1, datetime.date(2020, 1, 1)]}}, "must be a number, a text"),
    ({"space": {RATE: [math.nan]}}, "space.*error_rate must be a finite number from 0 to 1, got nan"),
    ({"space": {RATE: {"low": 0.1}}}, "must be a list of values, or a table with low and high"),
    ({"space": {RATE: {"low": 0.1, "high": 0.01, "count": 3}}}, "must have numbers low < high"),
    ({"space": {RATE: {"low": 0.1, "high": math.inf, "count": 3}}}, "must have numbers low < high"),
    ({"space": {RATE: {"low": True, "high": 2, "count": 3}}}, "must have numbers low < high"),
    ({"space": {RATE: {"low": 0, "high": 0.1, "log": True, "count": 3}}}, "> 0 for log, got 0 and 0.1"),
    ({"space": {RATE: {"low": 0.01, "high": 0.1, "log": "no", "count": 3}}}, "log must be true or false, got 'no'"),
    ({"space": {RATE: {"low": 0.01, "high": 0.1, "count": 1}}}, "count must be a whole number >= 2"),
    ({"space": {RATE: {"low": 0.01, "high": 0.1, "count": 10**9}}}, "count must be at most 1,000,000"),
    ({"space": {RATE: {"low": 0.01, "high": 0.1, "cuont": 3}}}, "Did you mean 'count'"),
    ({"space": {RATE: {"low": 0.01, "high": 0.1}}}, "must be a list or have a count for a grid"),
    ({"space": {"memory.weights.error_rate": [0.1]}}, "weights=|got 'weights'"),
    ({"space": {"trainin.epochs": [1]}}, "got 'trainin'. Did you mean 'training'"),
    ({"space": {"arm": [1]}}, "space.arm is the dimension of the arms"),
    ({"space": {"seed": [1, 2]}, "repeats": 2}, "space.seed must not be of the seed with repeats"),
    ({"set": {"seed": 2}}, "set.seed must be left out: seeds follow from that of the study"),
    ({"set": {"training.epochs.x": 2}}, "must be the path of a field"),
    ({"set": 3}, "set must be a table, got 3"),
    ({"set": {"name": "x"}}, "a field of the recipe must be one of .*got 'name'"),
    ({"arm": 3}, "arm must be a table of arms"),
    ({"arm": {"a": 3}}, "arm.a must be a table, got 3"),
    ({"arm": {"a": {"seed": 1}}, "repeats": 2}, "arm must not be of the seed with repeats"),
    ({"arm": {"a": {RATE: 0.2}}}, f"arm must be of another field than space.{RATE}"),
    ({"arm": {"a": {"memory.activations.current": "1V"}}}, "must be a quantity in A, got '1V'"),
    ({"figure": 3}, "figure must be a table"),
    ({"report": []}, "report must be a table"),
    ({"trials": 3}, "trials is for the sampler 'random' or 'tpe' or 'nsga2', got 'grid'"),
    ({"prune": {}}, "prune is for the sampler 'tpe' or 'nsga2', got 'grid'"),
    ({"bisect": BISECT}, "bisect is for the sampler 'bisection', got 'grid'"),
    ({"sampler": "bisection"}, "bisect must be given for the sampler 'bisection'"),
    ({"sampler": "random", "objective": {"x.accuracy": "maximize"}}, "trials must be given for the sampler 'random'"),
    (choosing(trials=0), "trials must be a whole number >= 1"),
    (choosing(trials=10**7), "space must have at most 1,000,000 points"),
    (choosing(objective=None), "objective must be given for the sampler 'tpe'"),
    (
        choosing(objective={"held_out.accuracy": "up"}),
        "objective.held_out.accuracy must be one of 'maximize', 'minimize'",
    ),
    (
        choosing(objective={"with_errors.accuracy": "maximize"}, set=None),
        "is of test images, and nothing may be chosen",
    ),
    (
        choosing(constraint={"error_free.accuracy": {"min": 0.9}}, objective={"training.loss": "minimize"}, set=None),
        "constraint.error_free.accuracy is of test images",
    ),
    (choosing(constraint={"training.loss": 3}), "constraint.training.loss must be { max = NUMBER }"),
    (choosing(constraint={"training.loss": {"max": "x"}}), "constraint.training.loss must be { max = NUMBER }"),
    (choosing(constraint={"training.loss": {"max": 1, "min": 0}}), "constraint.training.loss must be { max"),
    (choosing(prune=3), "prune must be a table"),
    (choosing(prune={"warm": 3}), "a field of prune must be one of 'warmup'"),
    (choosing(prune={"warmup": "x"}), "prune.warmup must be a whole number >= 0, got 'x'"),
    (choosing(prune={}, set={"test": []}, objective={"training.loss": "minimize"}), "prune needs data.validation"),
    (
        choosing(prune={}, objective={"held_out.accuracy": "maximize", "training.loss": "minimize"}),
        "prune needs one objective, by which a trial is behind, got 2",
    ),
]


@pytest.mark.parametrize(("tables", "message"), WRONG, ids=lambda value: str(value)[:50])
def test_a_wrong_study_is_refused_in_one_line(tables, message):
    with pytest.raises(ValueError, match=message.replace("{ ", r"\{ ").replace(" }", r" \}")) as caught:
        study(**tables)
    assert "\n" not in str(caught.value)


BEFORE_WORK = [  # what needs the recipe's network, its rates or the names of its values
    ({"space": {"training.epoch": [1]}}, "a field of training must be one of .*Did you mean 'epochs'"),
    ({"space": {"training.epochs": [1, 0]}}, "mine at training.epochs=0: training.epochs must be a whole number"),
    ({"space": {"model.hidden": [[16], "x"]}}, "mine at model.hidden='x': "),
    ({"space": {"memory.activations.layers": ["3", "7"]}}, "mine at memory.activations.layers='7': memory.activations"),
    ({"report": {"values": ["clean.accuracy"]}}, "a value of report.values must be one of .*got 'clean.accuracy'"),
    ({"report": {"values": 3}}, "report.values must be a list of values of the run, got 3"),
    ({"report": {"value": []}}, "a field of report must be one of 'values'"),
    ({"figure": {"x": "training.epochs"}}, "figure.x must be one of .*got 'training.epochs'"),
    ({"figure": {"y": ["activations.latency"]}}, "figure.y must be one of .*got 'activations.latency'"),
    ({"figure": {"panel": "arm"}}, "figure.panel must be one of .*got 'arm'"),
    ({"figure": {"by": 3}}, "figure.by must be one of .*got 3"),
    ({"figure": {"y_scale": "exp"}}, "figure.y_scale must be one of 'linear', 'from_zero', 'log', 'logit'"),
    ({"figure": {"log_x": "no"}}, "figure.log_x must be true or false"),
    ({"figure": {"x_label": 3}}, "figure.x_label must be a text"),
    ({"figure": {"colour": "red"}}, "a field of figure must be one of"),
    (bisecting(field=None), "bisect.field must be given"),
    (bisecting(field=3), "bisect.field must be a text, got 3"),
    (bisecting(field=["a"]), r"bisect.field must be a text, got \['a'\]"),
    (bisecting(field="memory.activation.error_rate"), "got 'activation'. Did you mean 'activations'"),
    (bisecting(low="x"), "bisect.low must be a finite number from 0 to 1.*got 'x'"),
    (bisecting(field="training.learning_rate", low="x"), "bisect.low must be a number < high, got 'x' and"),
    (bisecting(low=0.5), "bisect.low must be a number < high, got 0.5 and 0.4"),
    (bisecting(low=0, log=True), "bisect.low must be a number < high, and > 0 for log"),
    (bisecting(log=1), "bisect.log must be true or false, got 1"),
    (bisecting(rounds=0), "bisect.rounds must be a whole number >= 1"),
    (bisecting(rounds=10**6), "bisect.rounds must be at most 40"),
    (bisecting(value="with_error.accuracy"), "bisect.value must be one of .*Did you mean 'with_errors.accuracy'"),
    (bisecting(level="high"), "bisect.level must be a number, or a table with `of` or `lose`, got 'high'"),
    (bisecting(level=True), "bisect.level must be a number, or a table with `of` or `lose`, got True"),
    (bisecting(level={}), "bisect.level.of must be given"),
    (bisecting(level={"loss": 0.1, "share": 0.5}), "a field of bisect.level must be one of .*got 'loss'"),
    (bisecting(level={"keep": 0.5}), "bisect.level.of must be given"),
    (
        bisecting(level={"of": "error_free.acuracy"}),
        "Did you mean 'error_free.accuracy'",
    ),
    (bisecting(level={"of": "error_free.accuracy", "keep": "x"}), "bisect.level.keep must be a number, got 'x'"),
    (bisecting(level={"of": "error_free.accuracy", "above": "x"}), 'bisect.level.above must be a number, or "chance"'),
    (
        bisecting(level={"lose": 0.01, "share": 0.5, "keep": 0.9}),
        "bisect.level.keep must be left out where the level is of losses, lose and share, got 0.9",
    ),
    (bisecting(level={"of": "error_free.accuracy", "share": 0.5}), "bisect.level.of must be left out where .*, share,"),
    (bisecting(level={"lose": 0.01}), "bisect.level.share must be given, a number > 0 and <= 1"),
    (bisecting(level={"share": 0.5}), "bisect.level.lose must be given, a number > 0"),
    (bisecting(level={"lose": 0, "share": 0.5}), "bisect.level.lose must be a number > 0, got 0"),
    (bisecting(level={"lose": "1 %", "share": 0.5}), "bisect.level.lose must be a number > 0, got '1 %'"),
    (bisecting(level={"lose": 0.01, "share": 0}), "bisect.level.share must be a number > 0 and <= 1, got 0"),
    (bisecting(level={"lose": 0.01, "share": 1.5}), "bisect.level.share must be a number > 0 and <= 1, got 1.5"),
    (bisecting(level={"lose": 0.01, "share": True}), "bisect.level.share must be a number > 0 and <= 1, got True"),
    (bisecting(levels=3), "a field of bisect must be one of"),
    (
        bisecting() | {"space": {"training.epochs": [1, 2]}, "figure": {"y": "error_free.accuracy"}},
        "a field of figure must be one of 'x', 'by', .*got 'y'",
    ),
    (
        bisecting() | {"space": {"training.epochs": [1, 2]}, "figure": {"panel": RATE}},
        "figure.panel must be one of 'training.epochs', got",
    ),
    (bisecting() | {"figure": {"x": RATE, "y": "y.accuracy"}}, "figure.y must be one of .*got 'y.accuracy'"),
    (bisecting(high=1.5), "mine at memory.activations.error_rate=1.5: .*must be <= 1, got 1.5"),
    (choosing(objective={"held_out.acuracy": "maximize"}), "Did you mean 'held_out.accuracy'"),
    (choosing(constraint={"activations.joules": {"max": 1}}), "constraint.activations.joules must be one of"),
]


@pytest.mark.parametrize(("tables", "message"), BEFORE_WORK, ids=lambda value: str(value)[:50])
def test_a_study_that_cannot_be_run_is_refused_before_any_work(tmp_path, tables, message):
    with pytest.raises((ValueError, OSError), match=message) as caught:
        run_study(
            study(**tables),
            out=tmp_path / "out",
            workers=1,
            data_dir=tmp_path if "test" in tables.get("space", {}) else None,
        )
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))


def test_a_field_that_a_bisection_moves_is_in_no_other_place():
    with pytest.raises(ValueError, match=rf"bisect\.field must be of another field than space\.{RATE}"):
        study(**{**bisecting(), "space": {RATE: [0.1]}})
    with pytest.raises(ValueError, match="for a bisection, which moves one field"):
        study(**{**bisecting(), "space": {"training.learning_rate": {"low": 0.1, "high": 0.2}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[space", "mine.toml is not TOML"),
        ("[space]\na = [1]\na = [2]", "mine.toml is not TOML: Cannot overwrite a value"),
        ('name = "x"', "mine.toml: a field of the study must be one of .*got 'name'"),
        ('self = "x"', "mine.toml: a field of the study must be one of .*got 'self'"),
        ('data = "digits"', "mine.toml: a field of the study must be one of .*got 'data'"),
        ("repeats = 2", "mine.toml: recipe must be given"),
        ('recipe = "absent.toml"', "absent.toml' does not exist"),
        ('[recipe]\ndata = "digits"\nmodel = "mlp"\nname = "x"', "recipe: a field of the recipe .*got 'name'"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        load_study(tmp_path / "mine.toml")
    assert "\n" not in str(caught.value)


def test_a_study_with_other_fields_is_another_one_that_its_name_declares():
    study = load_study("digits_grid")
    other = study.replaced({"training.epochs": 3, "data": {"name": "digits", "train_images": 90}})
    assert other.name == 'digits_grid --set training.epochs=3 --set \'data={"name": "digits", "train_images": 90}\''
    assert other.recipe.value("training.epochs") == 3
    assert other.identity != study.identity
    assert study.replaced({}) is study
    for path, message in (
        (
            "memory.activations.current",
            "must be the same at every point of digits_grid, and the points differ in",
        ),
        ("memory.activations", "the points differ in memory.activations.errors"),
        ("memory.activations.pulse_widht", "Did you mean 'pulse_width'"),
        ("seed", "set.seed must be left out"),
    ):
        with pytest.raises(ValueError, match=message):
            study.replaced({path: 1})


def test_the_field_of_a_bisection_cannot_be_set_and_a_table_takes_the_place_of_its_fields():
    with pytest.raises(ValueError, match=r"the points differ in memory.words.error_rate"):
        load_study("two_phase_iterations").replaced({"memory.words.error_rate": 0.3})
    other = load_study("weight_storage_fashion").replaced({"data": {"name": "mnist", "train_images": 1000}})
    assert (other.recipe.value("data.name"), other.recipe.value("data.train_images")) == ("mnist", 1000)
    assert other.recipe.value("memory.weights.error_rate") == 0.05  # of its own [set]
