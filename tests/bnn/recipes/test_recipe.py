"""Declarations of recipes: their identity, their fields, and what is refused before any work."""

import datetime
import math

import numpy as np
import pytest
from torch import nn

import bnn
from bnn.recipes.recipe import Recipe, list_recipes, load_recipe, title_of
from bnn.recipes.run import Prepared, toml_of
from mtjsim.presets import load_preset

TOML = """title = "mine"
data = "digits"

[model]
name = "mlp"
hidden = [16]

[device]
preset = "arm_2021"

[[memory]]
holds = "activations"
current = "42uA"
pulse_width = "10ns"

[training]
epochs = 1
batch_size = 256
learning_rate = 0.02
"""


# ---- identity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("microamperes", [36, 40, 42, 44, 48, 52, 60])
def test_a_quantity_with_a_unit_is_its_bare_number_in_si(small, microamperes):
    typed = small(memory=[{"current": f"{microamperes}uA", "pulse_width": "10ns", "temperature": "300K"}])
    bare = small(memory=[{"current": microamperes * 1e-6, "pulse_width": 1e-8, "temperature": 300}])
    assert typed.value("memory.activations.current") == float(f"{microamperes}e-6")
    assert (
        typed.identity
        == small(memory=[{"current": float(f"{microamperes}e-6"), "pulse_width": 1e-8, "temperature": 300.0}]).identity
    )
    assert math.isclose(bare.value("memory.activations.current"), typed.value("memory.activations.current"))


def test_texts_and_what_is_expected_are_not_in_the_identity_and_everything_else_is(small):
    recipe = small()
    assert small(title="another", source="nothing", expected={"clean": [0.9]}).identity == recipe.identity
    assert recipe.replaced({"test": []}).training_identity == recipe.training_identity
    changes = [{"seed": 1}, {"training.epochs": 3}, {"memory.activations.current": "43uA"}, {"device.damping": 0.011}]
    changes += [{"test": []}, {"data.classes": 9}, {"model.hidden": [24]}, {"memory.activations.errors": "overwrite"}]
    identities = {recipe.replaced(change).identity for change in changes} | {recipe.identity}
    assert len(identities) == len(changes) + 1


def test_a_preset_is_its_fields(small):
    fields = load_preset("arm_2021").model_dump()
    assert small(device=fields).identity == small(device={"preset": "arm_2021"}).identity == small().identity


def test_numbers_of_numpy_and_tuples_are_plain_values(small):
    training = {"epochs": np.int64(2), "batch_size": 128, "learning_rate": np.float64(0.02)}
    recipe = small(training=training, model={"name": "mlp", "inputs": 64, "hidden": (24, 16)})
    assert recipe.identity == small().identity
    assert small(model={"name": "mlp", "inputs": 64, "hidden": np.array([24, 16])}).identity == recipe.identity
    assert load_recipe("digits_mlp").identity == load_recipe("digits_mlp").replaced({}).identity


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_recipe_is_the_same_from_its_file(small, tmp_path):
    recipe = small(phase=[{"memory": "activations", "until": 0.5}, {"memory": []}], binarize={"exclude": ["0"]})
    (tmp_path / "recipe.toml").write_bytes(toml_of(recipe))
    again = load_recipe(tmp_path / "recipe.toml")
    assert (again.identity, again.tables) == (recipe.identity, recipe.tables)


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_can_be_read_and_say_where_they_are_from(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.source
    assert title_of("bnn.recipes", name) == recipe.title
    Prepared.declared(recipe)
    for test in set(recipe.expected) - {"seeds", "machine", "core_seconds"}:
        assert len(recipe.expected[test]) == len(recipe.expected["seeds"])


def test_a_device_file_is_found_from_the_folder_of_the_recipe(tmp_path, monkeypatch):
    junction = load_preset("arm_2021").replace(damping=0.02)
    lines = []
    for name, value in junction.model_dump(exclude_defaults=True).items():
        lines.append(f"{name} = {list(value) if isinstance(value, tuple) else value!r}".replace("'", '"'))
    (tmp_path / "junctions").mkdir()
    (tmp_path / "junctions" / "own.toml").write_text("[device]\n" + "\n".join(lines) + "\n")
    (tmp_path / "mine.toml").write_text(TOML.replace('preset = "arm_2021"', 'file = "junctions/own.toml"'))
    monkeypatch.chdir("/")
    recipe = load_recipe(tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text(TOML)
    assert recipe.identity == load_recipe(tmp_path / "mine.toml").replaced({"device.damping": 0.02}).identity
    assert "file" not in recipe.value("device")


# ---- other values of fields ------------------------------------------------------------------------------------------


def test_another_preset_replaces_the_whole_junction_and_other_fields_are_set_in_that_one(small):
    recipe = small(device={"preset": "arm_2021", "damping": 0.02})
    other = recipe.replaced({"device.damping": 0.03, "device.preset": "umn_ipmtj_2015"})
    assert other.identity == small(device={"preset": "umn_ipmtj_2015", "damping": 0.03}).identity
    assert recipe.replaced({"device.preset": "arm_2021"}).identity == small().identity


def test_a_field_is_replaced_by_its_path_and_taken_out_by_none(small):
    recipe = small(phase=[{"memory": "activations", "until": 0.5}, {"memory": []}])
    changed = recipe.replaced(
        {
            "memory.activations.current": None,
            "memory.activations.voltage": "1V",
            "phase.0.until": 0.25,
            "test.with_errors.draws": 7,
            "optimizer.name": "sgd",
        }
    )
    assert "current" not in changed.value("memory.activations")
    assert [changed.value(path) for path in ("memory.activations.voltage", "phase.0.until", "phase.1.memory")] == [
        1.0,
        0.25,
        [],
    ]
    assert (changed.value("test.with_errors.draws"), changed.value("optimizer.name")) == (7, "sgd")
    assert recipe.value("memory.activations.current") == 42e-6


def test_what_is_expected_is_of_the_recipe_as_it_was(small):
    recipe = small(expected={"clean": [0.9]})
    assert recipe.replaced({"seed": 3, "title": "again"}).expected == {"clean": [0.9]}
    assert recipe.replaced({"training.epochs": 1}).expected == {}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("training.epoch", "epoch of training.epoch must be one of 'epochs'.* Did you mean 'epochs'"),
        ("memory.activation.current", "activation of memory.activation.current must be one of 'activations'"),
        ("phase.0.until", "phase of phase.0.until must be one of"),
        ("model.hidden.7", "7 of model.hidden.7 must be one of '0', '1'"),
        ("title.x", "x of title.x must be one of"),
    ],
)
def test_a_value_that_is_not_there_is_refused_with_the_nearest(small, path, message):
    with pytest.raises(ValueError, match=message):
        small().value(path)


def without_norms():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


# ---- what is refused -------------------------------------------------------------------------------------------------

RATE = "must be a finite number from 0 to 1"
WRONG_FIELDS = [  # path, value, message; None takes a field out
    ("training.epoch", 3, "a field of training must be one of 'epochs'.*got 'epoch'. Did you mean 'epochs'"),
    ("trainin", {}, "a field of the recipe must be one of .*got 'trainin'. Did you mean 'training'"),
    ("name", "x", "a field of the recipe must be one of .*got 'name'"),
    ("training.epochs", 0, "training.epochs must be a whole number >= 1, got 0"),
    ("training.epochs", "many", "training.epochs must be a whole number >= 1, got 'many'"),
    ("training.learning_rate", "0.1", "training.learning_rate must be a number .*, got '0.1'"),
    ("training.seed", 3, "a field of training must be one of .*got 'seed'"),
    ("training.schedule", {"at": [0.5, 0.2]}, "training.schedule.at must be one or more shares .* that increase"),
    ("training.schedule", {"at": [0.5], "factr": 0.1}, "a field of training.schedule must be .*Did you mean 'factor'"),
    ("training.schedule", {"factor": 0.1}, "training.schedule is not complete: missing a required argument: 'at'"),
    ("training.schedule", {"at": [0.5], "factor": 2}, "training.schedule.factor must be <= 1, got 2"),
    ("training.epochs", None, "training is not complete: missing a required argument: 'epochs'"),
    ("training.choose", "best", "training.choose needs data.validation"),
    ("training", 3, "training must be a table, got 3"),
    ("title", 3, "title must be a text, got 3"),
    ("seed", -1, "seed must be a whole number >= 0"),
    ("data", "digit", "data must be one of 'digits'.* Did you mean 'digits'"),
    ("data", None, "data must be given"),
    ("data.name", None, "data.name must be given: one of digits"),
    ("data.classes", 11, "data.classes must be at most the number of classes, got 11 of 10"),
    ("data.classes", 1, "data.classes must be a whole number >= 2"),
    ("data.train_images", 5000, "data.train_images must be at most 1198, got 5000"),
    ("data.validation", "half", "data.validation must be between 0 and 1.*got 'half'"),
    ("device.preset", "arm_2020", "preset must be one of .*Did you mean 'arm_2021'|arm_2020.*Did you mean"),
    ("device.dampin", 0.1, "a field of .*device.* must be one of .*Did you mean 'damping'"),
    ("device", 3, "device must be a table, such as preset = 'arm_2021', got 3"),
    ("device", None, "memory.activations.current needs a \\[device\\], whose junction it writes"),
    ("cell.width", "200nm", "cell is not complete: missing a required argument: 'supply_voltage'"),
    ("cell.widht", "200nm", "a field of cell must be one of .*Did you mean 'width'"),
    ("memory.activations.current", "50V", "current must be a quantity in A, got '50V', whose unit does not convert"),
    ("memory.activations.current", "50mA", "must be <= 100 critical currents .*: a junction does not survive it"),
    ("memory.activations.current", None, "memory.activations must have current .*: how it is written"),
    ("memory.activations.error_rate", 0.1, "must say in one way how it is written, got current, error_rate"),
    ("memory.activations.max_latency", 1e-8, "max_latency is a limit of a search: give error_rate, the target"),
    ("memory.activations.pulse_width", None, "pulse_width"),
    ("memory.activations.layers", "features.9", "^memory.activations.layers must name layers of the model, got 'feat"),
    ("memory.activations.layers", 3, "memory.activations.layers must be a name or a list of names, got 3"),
    ("memory.activations.holds", "weigths", "memory.activations.holds must be one of .*Did you mean 'weights'"),
    ("memory.activations.errors", "both", "memory.activations.errors must be one of 'overwrite', 'independent'"),
    (
        "memory.activations.policy",
        "read_first",
        "memory.activations.policy must be one of 'plain', 'read_before_write'",
    ),
    ("memory.activations.wear", "no", "memory.activations.wear must be true or false, got 'no'"),
    ("memory.activations.read", {"voltage": "0.1V"}, "memory.activations.read is not complete.*'duration'"),
    ("memory.activations.name", "a.b", "memory.name must be a text without a dot, got 'a.b'"),
    ("memory.weights.current", "50uA", "memory of memory.weights.current must be one of 'activations', got 'weights'"),
    ("memory", 3, "memory must be an array of tables, \\[\\[memory\\]\\] in TOML, got 3"),
    ("memory", [{"current": 1e-5}] * 2, "memory.name must be different in each, got 'activations' twice"),
    ("phase", [], "phase must have at least one table, got none. Leave it out for one phase with all"),
    ("phase", [3], "phase must be an array of tables, \\[\\[phase\\]\\] in TOML, got \\[3\\]"),
    ("phase", {"memory": []}, "phase must be an array of tables"),
    ("phase", [{"until": 1.0}], "phase.0.memory must be given: a list of names of \\[\\[memory\\]\\], empty for SRAM"),
    ("phase", [{"memory": "activation"}], "phase.0.memory must be one of 'activations'.* Did you mean 'activations'"),
    ("phase", [{"memory": [], "untl": 1}], "a field of phase.0 must be one of .*Did you mean 'until'"),
    (
        "phase",
        [{"memory": [], "until": 0.5}],
        "phases must end at increasing shares of the training, the last one at 1",
    ),
    ("phase", [{"memory": [], "scrub": "false"}], "phase.0.scrub must be true or false, got 'false'"),
    ("model", "mpl", "model must be one of .*Did you mean 'mlp'"),
    ("model", 3, "model must be a name, or a table with one, got 3"),
    ("model.hiden", [3], "a field of model must be one of .*Did you mean 'hidden'"),
    ("model.hidden", [-1], "model has a value of another kind|model"),
    ("model.hidden", {"a": 1}, "model has a value of another kind: KeyError"),
    ("model.inputs", 60, "input_shape must fit the model, got \\(1, 8, 8\\)"),
    ("model.classes", 3, "each of the 10 classes of digits, got \\(3,\\)"),
    ("model.seed", 3, "model.seed must be left out: it follows from seed of the recipe"),
    ("model.activation_memory", 3, "model.activation_memory must be left out: it follows from \\[\\[memory\\]\\]"),
    ("model.channels_last", "yes", "model.channels_last must be true or false"),
    ("model.name", "math:cos", "model"),
    ("model.name", "nowhere:net", "model must be module:function, which can be imported from this folder"),
    ("binarize.exclud", [], "a field of binarize must be one of .*Did you mean 'exclude'"),
    ("binarize.weight_quantizer", "sign", "binarize.weight_quantizer must be one of 'ste_sign'"),
    (
        "optimizer.name",
        "adan",
        "optimizer.name must be one of 'adam', 'adamw', 'sgd', 'bop', 'state_transitions', got 'adan'",
    ),
    ("optimizer.lr", 0.1, "a field of optimizer must be one of .*got 'lr'"),
    ("optimizer.betas", "x", "optimizer has a value of another kind|optimizer"),
    ("process.short_rat", 0.1, "a field of process must be one of .*Did you mean 'short_rate'"),
    ("process.short_rate", 3, "process.short_rate must be"),
    ("process.spread", {"diameter": 0.1}, "a field of process.spread must be one of .*Did you mean 'diameter_d2d'"),
    ("expected.clean", 0.9, "expected.clean must be a list of accuracies, one a seed, got 0.9"),
    ("training.epochs.x", 3, "training.epochs.x must be the path of a field, and training.epochs is 2, not a table"),
    ("", 3, "field must be a path such as training.epochs, got ''"),
    ("training..epochs", 3, "field must be a path such as training.epochs, got 'training..epochs'"),
    (3, 3, "field must be a path such as training.epochs, got 3"),
    ("training.epochs", datetime.date(2020, 1, 1), "training.epochs must be a number, a text, .* got datetime.date"),
    ("training.schedule", math.cos, "training.schedule must be a number, a text, true or false, a list or a table"),
    ("training.weight_decay", math.nan, "training.weight_decay must not be nan: a number must be finite"),
    ("phase", [{"memory": [], "until": math.nan}], "^phase.0.until must not be nan"),
    ("test.clean.draws", math.nan, "^test.clean.draws must not be nan"),
    ("test.with_errors.memory", {"activations": {"error_rate": [0.1, math.nan]}}, f"^test.w.*error_rate {RATE}, got"),
    ("memory.activations.error_rate", math.nan, f"^memory.activations.error_rate {RATE}, got nan. Rates are probabil"),
    ("memory.activations.error_rate", "5%", f"^memory.activations.error_rate {RATE}, such as 0.05, got '5%'. Rates"),
    ("memory.activations.error_rate", ["0.1", 0.1], f"^memory.activations.error_rate {RATE}, such as 0.05, got '0.1'"),
    ("process.weak_rate", "few", f"^process.weak_rate {RATE}, such as 0.05, got 'few'"),
    ("process.weak_stability_factor", "half", "must be a number or an array of numbers, got 'half'.$"),
    ("process.short_conductance", "1mA", "process.short_conductance must be a quantity in S, got '1mA', whose unit"),
    ("memory.activations.temperature", [], "^memory.activations.temperature must be one number in K, got an array"),
    ("title", "\udcff", "title must be a text in UTF-8"),
    ("model", {"name": "mlp", 3: 4}, "model must have texts as names of its fields, got 3"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG_FIELDS, ids=lambda value: str(value)[:30])
def test_a_wrong_field_is_refused_in_one_line_before_any_work(small, path, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        Prepared.of(small().replaced({path: value}))
    assert "\n" not in str(caught.value)


TWO = [{"name": "first", "current": "42uA", "pulse_width": "10ns", "layers": "3"}]
TWO += [{"name": "second", "current": "42uA", "pulse_width": "10ns", "layers": "5"}]
WORDS = [{"holds": "weights", "error_rate": 1e-6}]
DIES = {"name": "t", "dies": 2}
OF_A_TEST = {"phase": [{"memory": []}], "test": [{"name": "dies", "memory": "signs"}]}
OF_OWN = {"device": None, "model": {"name": f"{__name__}:without_norms"}, "test": []}
WRONG_TESTS = [  # tables of the recipe, message
    ({"test": 3}, "test must be an array of tables"),
    ({"test": [{"name": "t", "draw": 2}]}, "a field of test.t must be one of .*Did you mean 'draws'"),
    ({"test": [{"name": "t", "draws": 0}]}, "test.t.draws must be a whole number >= 1, got 0"),
    ({"test": [{"name": "t", "draws": 2, "dies": 2}]}, "test.t.dies and draws must not both be given"),
    (
        {"test": [{"name": "t", "memory": 3}]},
        "test.t.memory must be names of \\[\\[memory\\]\\], or a table of them, got 3",
    ),
    ({"test": [{"name": "t", "memory": "signs"}]}, "test.t.memory must be one of 'activations', got 'signs'"),
    ({"test": [{"name": "t", "memory": {"activations": {"curent": 1e-5}}}]}, "a field of test.t.memory.activations"),
    ({"test": [{"name": "t", "memory": {"activations": {"current": []}}}]}, "current must have a value, got an empty"),
    (
        {"test": [{"name": "t", "memory": {"activations": {"current": "50mA"}}}]},
        "^test.t.memory.activations.current must be .*a junction does not survive it",
    ),
    ({"test": [{"name": "t", "memory": {"activations": {"holds": "signs"}}}]}, "must be one of .*got 'holds'"),
    ({"test": [{"name": "t", "memory": {"activations": {"layers": "9"}}}]}, "^test.t.memory.activations.layers must"),
    ({"test": [{"name": "t", "correct": "scale"}]}, "test.t.correct must be one of .*Did you mean 'rescale'"),
    ({"test": [{"name": "t", "images": "validation"}]}, "test.t.images of validation need data.validation"),
    ({"test": [{"name": "t", "images": "train"}]}, "test.t.images must be one of 'test', 'validation', got 'train'"),
    ({"test": [{"name": "t", "data": "mnits"}]}, "test.t.data must be one of .*Did you mean 'mnist'"),
    ({"test": [{"name": "a.b"}]}, "test.name must be a text without a dot"),
    ({"test": [{"name": "t"}, {"name": "t"}]}, "test.name must be different in each, got 't' twice"),
    ({"test": [{"name": "training"}]}, "test.training.name must be another one"),
    ({"test": [DIES]}, "test.t.dies needs a \\[process\\]"),
    ({"test": [DIES], "process": {"short_rate": 0.1}}, "short_conductance"),
    ({"test": [{**DIES, "memory": []}], "process": {"open_rate": 0.1}}, "must be of one memory .*, got none"),
    ({"test": [DIES], "process": {"open_rate": 0.1}, "memory": TWO}, "must be of one memory .*, got first, second"),
    (
        {"test": [DIES], "process": {"open_rate": 0.1}, "memory": [{"error_rate_0": 0.1, "error_rate_1": 0.1}]},
        'memory.activations.errors must be "independent" for a test on dies',
    ),
    (
        {
            "test": [DIES],
            "process": {"spread": {"diameter_d2d": 0.1}},
            "memory": [{"error_rate_0": 0.1, "error_rate_1": 0.1, "errors": "independent"}],
        },
        "process.spread needs a \\[device\\], and a setting of memory.activations",
    ),
    (
        {"memory": WORDS, "test": [{"name": "t", "memory": "weights"}]},
        "test.t.memory must be of memories of bits, and weights holds weights",
    ),
    (
        {
            "memory": [{"holds": "signs", "error_rate_0": 0.1, "error_rate_1": 0.1}],
            "phase": [{"memory": []}],
            "model": {"name": "mlp", "inputs": 64, "hidden": [16], "last": "real"},
            "test": [{"name": "t", "memory": "signs"}],
        },
        "^memory.signs.holds must be of a layer of the model, which has no signs that are bits. See test.t",
    ),
    (
        {"memory": [{"holds": "signs", "error_rate": 0.1, "layers": ["3", "77"]}], "device": None, **OF_A_TEST},
        "^memory.signs.layers must name layers of the model, got '77': .* See test.dies",
    ),
    (
        {"memory": [*TWO, {**TWO[0], "name": "third"}]},
        "^memory.third.layers must name each layer once, .* The other one is memory.first",
    ),
    (
        {"memory": [{"holds": "optimizer", "error_rate": 1e-6}], "device": None, "optimizer": {"name": "bop"}},
        '^memory.optimizer.holds must be without "optimizer"',
    ),
    ({"memory": [{"holds": "batch_norm", "error_rate": 1e-6}], **OF_OWN}, "^memory.batch_norm.holds must name someth"),
    ({"memory": None, "phase": [{"memory": [], "reestimate": 50}], **OF_OWN}, "^phase.0.reestimate must be 0, got 50"),
]


@pytest.mark.parametrize(("tables", "message"), WRONG_TESTS, ids=lambda value: str(value)[:50])
def test_a_wrong_test_is_refused_before_the_training(small, tables, message):
    with pytest.raises(ValueError, match=message) as caught:
        Prepared.of(small(**tables))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("title", "title =", "mine.toml is not TOML"),
        ('data = "digits"', 'data = "digits"\ndata = "mnist"', "mine.toml is not TOML: Cannot overwrite a value"),
        ("[training]", "[model]", "mine.toml is not TOML: Cannot declare"),
        ("title", "name = 'x'\ntitle", "mine.toml: a field of the recipe must be one of .*got 'name'"),
        ("title", "self = 'x'\ntitle", "mine.toml: a field of the recipe must be one of .*got 'self'"),
        (
            "title",
            '"training.epochs" = 3\ntitle',
            "mine.toml: a field of the recipe must be one of .*'training.epochs'",
        ),
        ("title", "sampler = 'grid'\ntitle", "mine.toml: a field of the recipe must be one of .*got 'sampler'"),
        ('preset = "arm_2021"', 'file = "absent.toml"', "absent.toml' does not exist"),
        ('preset = "arm_2021"', 'preset = "arm_2021"\nfile = "a.toml"', "preset and file are two junctions"),
        ("epochs = 1", "epochs = 2020-01-01", "training.epochs must be a number, a text"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(tmp_path, was, now, message):
    (tmp_path / "mine.toml").write_text(TOML.replace(was, now, 1))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        load_recipe(tmp_path / "mine.toml")
    assert "\n" not in str(caught.value)


def test_unknown_recipes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'digits_mlp'"):
        load_recipe("digit_mlp")
    with pytest.raises(FileNotFoundError, match=r"absent\.toml"):
        load_recipe("absent.toml")
    (tmp_path / "bad.toml").write_bytes(b'title = "\xff"\n')
    with pytest.raises(ValueError, match=r"bad\.toml: not a text in UTF-8"):
        load_recipe(tmp_path / "bad.toml")


def test_the_front_door():
    assert bnn.load_recipe is load_recipe
    assert bnn.list_recipes() == list_recipes()
    assert bnn.Recipe is Recipe
