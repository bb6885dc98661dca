"""Layout: arrows mtjsim <- bridge <- bnn, floors of bnn, no circles, what a start imports, no machine paths."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mtjsim

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"mtjsim": {"bridge", "bnn", "torch"}, "bridge": {"bnn", "torch"}, "bnn": set()}


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imports(source, package):
    """Yield (line, absolute names) of every import in a module directly inside `package`, in functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield node.lineno, [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            yield node.lineno, [origin, *(f"{origin}.{alias.name}" for alias in node.names)]


def broken_arrows(source, package):
    return [
        f"line {line}: {names[0]}"
        for line, names in imports(source, package)
        if any(name.split(".")[0] in FORBIDDEN[package] for name in names)
    ]


def own_front_door(source, package):
    """Imports of the package itself rather than of one of its modules."""
    submodules = {path.stem for path in modules(package)} | {
        path.name for path in (ROOT / package).iterdir() if path.is_dir()
    }
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            bad = [a.name for a in node.names if a.name == package]
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            bad = [a.name for a in node.names if origin == package and a.name not in submodules]
        else:
            continue
        found += [f"line {node.lineno}: {package} ({', '.join(bad)})"] if bad else []
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_every_import_points_left(package):
    assert modules(package)
    problems = {str(p.relative_to(ROOT)): broken_arrows(p.read_text("utf-8"), package) for p in modules(package)}
    assert not {path: found for path, found in problems.items() if found}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_module_imports_its_own_init(package):
    inner = [path for path in modules(package) if path.name not in ("__init__.py", "__main__.py")]
    problems = {str(p.relative_to(ROOT)): own_front_door(p.read_text("utf-8"), package) for p in inner}
    assert not {path: found for path, found in problems.items() if found}


FLOORS = (  # of bnn: a room imports from lower floors only
    {"data", "streams"},
    {"errors"},
    {"counting", "layers"},
    {"conversion", "models", "optimizers", "packed"},
    {"evaluation"},
    {"training"},
    {"recipes", "train"},
    {"studies"},
    {"cli", "codesign", "plots"},
    {"__main__"},
)


def of_package(source, package):
    """Modules of the package that a source imports, as dotted names without it; under TYPE_CHECKING too."""
    for _, names in imports(source, package):
        for name in (name.removeprefix(f"{package}.") for name in names if name.startswith(f"{package}.")):
            path = ROOT / package / name.replace(".", "/")
            if path.with_suffix(".py").exists() or path.is_dir():
                yield name


def against_the_floors(room, source):
    floor = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    targets = {name.split(".")[0] for name in of_package(source, "bnn")} - {room}
    return sorted(target for target in targets if floor[target] >= floor[room])


def test_every_room_of_bnn_imports_from_lower_floors():
    paths = [path.relative_to(ROOT / "bnn") for path in modules("bnn")][1:]
    rooms = {path: path.parts[0].removesuffix(".py") for path in paths if str(path) != "__init__.py"}
    assert set(rooms.values()) == set.union(*FLOORS)
    found = {str(path): against_the_floors(room, (ROOT / "bnn" / path).read_text()) for path, room in rooms.items()}
    assert not {path: targets for path, targets in found.items() if targets}


def circle(graph):
    """Return a circle of a graph, name -> names that it imports; None without one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_files_import_each_other_in_a_circle(package):
    graph = {}
    for path in modules(package):
        name = ".".join(path.relative_to(ROOT / package).with_suffix("").parts)
        if path.name != "__init__.py":
            found = set(of_package(path.read_text("utf-8"), package))
            graph[name] = {target for target in found if not (ROOT / package / target.replace(".", "/")).is_dir()}
    assert circle(graph) is None


def test_a_circle_and_an_arrow_to_a_higher_floor_would_be_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert against_the_floors("layers", "def f():\n    from bnn.training.loop import Trainer") == ["training"]
    assert against_the_floors("layers", "from bnn import training") == ["training"]
    assert against_the_floors("layers", "import bnn.errors.bits, bnn.training.loop") == ["training"]
    assert list(of_package("from bnn.layers import binary", "bnn")) == ["layers", "layers.binary"]
    assert against_the_floors("layers", "from bnn.errors.bits import BitMemory\nfrom bnn.layers.table import Row") == []


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_module_has_the_name_of_a_public_function(package):
    """Importing the module would put it in place of the function."""
    names = set(__import__(package).__all__)
    assert not {path.stem for path in (ROOT / package).glob("*")} & names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_tab_completion_shows_the_public_names(package):
    module = __import__(package)
    shown = [name for name in dir(module) if not name.startswith("_")]
    assert set(module.__all__) <= set(shown)
    assert all(hasattr(module, name) for name in shown)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_has_a_version_and_suggests_the_nearest_name(package):
    module = __import__(package)
    assert module.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    name = module.__all__[-1]
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{name}s'. Did you mean '{name}'"):
        getattr(module, name + "s")
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'zzz'$"):
        _ = module.zzz
    assert not hasattr(module, "__nothing__")


@pytest.mark.parametrize("package", ["mtjsim", "bridge"])
def test_a_package_that_is_run_prints_its_map(package):
    done = subprocess.run([sys.executable, "-m", package], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert __import__(package).__doc__ in done.stdout
    assert "mtj-bnn" in done.stdout


def test_former_paths_of_bnn_stay():
    imported = (
        "from bnn import codesign, data, errors, layers, models, plots; from bnn.train import Trainer; "
        "from bnn.codesign import energy_accuracy_curve; from bnn.errors import BitMemory; import bnn, bnn.plots"
    )
    used = "bnn.codesign.energy_accuracy_curve, bnn.errors.address, bnn.layers.memories, bnn.data.load, bnn.models.mlp"
    done = run(f"{imported}; assert all(map(callable, ({used})))")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "def f():\n    from torch import nn",
        "import bnn.errors as e",
        "from bridge import write",
        "import bridge",
    ],
)
def test_a_broken_arrow_would_be_seen(source):
    assert broken_arrows(source, "mtjsim")
    assert not broken_arrows("import torchlike, numpy\nfrom mtjsim.device import MTJ", "mtjsim")


def test_an_import_of_the_own_init_would_be_seen():
    assert own_front_door("from mtjsim import MTJ", "mtjsim")
    assert own_front_door("import mtjsim", "mtjsim")
    assert own_front_door("from . import MTJ", "mtjsim")
    assert not own_front_door("from mtjsim import finite_volume\nfrom mtjsim.device import MTJ", "mtjsim")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_are_ours(package):
    """PyPI has a project called bnn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["name"] == "mtj-bnn"
    assert package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    module = __import__(package)
    assert Path(module.__file__).resolve().parent == (ROOT / package).resolve()


def run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("module", ["mtjsim", "bridge", "bnn.cli"])
def test_start_without_torch(module):
    done = run(f"import sys, {module}; assert 'torch' not in sys.modules, 'torch'")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["mtjsim", "bridge"])
def test_start_is_light(module):
    """What takes a third of a second and more is imported where it is needed: the front door does without."""
    done = run(f"import sys, {module}; print(*sorted({{'numba', 'pint', 'xarray', 'matplotlib'}} & set(sys.modules)))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_public_names_exist():
    for package in FORBIDDEN:
        module = __import__(package)
        assert all(getattr(module, name).__doc__ for name in module.__all__)


@pytest.mark.parametrize(
    "name",
    [
        *("list_presets", "load_preset", "preset_file", "load_device", "save_device"),
        *("switching_probability", "write_error_rate", "trajectories", "simulate_writes"),
    ],
)
def test_the_front_door_is_described_whole(name):
    """Every argument by name, what comes back, what is raised, and an example that runs."""
    function = getattr(mtjsim, name)
    text, arguments = inspect.getdoc(function), inspect.signature(function).parameters
    sections = ["Examples"] + ["Parameters", "Raises"] * bool(arguments)
    sections += ["Returns"] * (inspect.signature(function).return_annotation not in (None, "None"))
    assert not [title for title in sections if f"{title}\n{'-' * len(title)}\n" not in text]
    listed = re.findall(r"^([\w, ]+) : ", text, re.M)
    assert not set(arguments) - {word for line in listed for word in line.split(", ")}


def public_callables():
    """Public functions and classes, and the public methods of the classes."""
    for package in FORBIDDEN:
        module = __import__(package)
        for name in module.__all__:
            public = getattr(module, name)
            methods = vars(public).items() if inspect.isclass(public) else ()
            for label, one in [(name, public), *((f"{name}.{m}", f) for m, f in methods if not m.startswith("_"))]:
                if callable(one):
                    yield f"{package}.{label}", one


def test_signatures_can_be_read():
    """Annotations by their names: 45 characters a parameter are enough, and no name of a type's inside is shown."""
    texts = {}
    for name, one in public_callables():
        try:
            texts[name] = str(inspect.signature(one)), len(inspect.signature(one).parameters)
        except (TypeError, ValueError):  # a value that is called through a C function
            continue
    assert len(texts) > 150
    assert not {name: text for name, (text, count) in texts.items() if len(text) > 60 + 45 * count}
    assert not {name for name, (text, _) in texts.items() if "_typing" in text or "Annotated" in text}


def test_completion_and_help_of_a_junction_leave_out_pydantic():
    device = mtjsim.load_preset("arm_2021")
    for shown in (dir(device), dir(mtjsim.MTJ)):
        assert not {name for name in shown if name.startswith("model_")}
        assert not {"dict", "copy", "json", "construct", "parse_raw", "from_orm"} & set(shown)
        assert {"thermal_stability", "critical_current", "replace", "identity"} <= set(shown)
    assert set(mtjsim.MTJ.model_fields) <= set(dir(device))
    assert device.model_copy() == device  # it works, unseen


MACHINE = re.compile(r"(?<![\w./~-])/(?:work|root|home)(?:/|\b)|\.\./shared")
ALLOWED = {".ci/run", "tests/test_house.py"}
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".csv", ".ipynb", ".yml", ".yaml", ".cfg", ".sh", ""}
SKIPPED = {".git", ".venv", "__pycache__", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".benchmarks"}


def tree():
    """Files of the project, as a clean checkout has them: what git ignores is left out."""
    for path in sorted(ROOT.rglob("*")):
        relative = path.relative_to(ROOT)
        if path.is_file() and path.suffix in TEXT and not SKIPPED & set(relative.parts) and relative.parts[0] != "demo":
            yield relative


def test_no_machine_paths():
    found = []
    for relative in tree():
        if str(relative) in ALLOWED:
            continue
        for number, line in enumerate((ROOT / relative).read_text("utf-8", errors="replace").splitlines(), 1):
            if ("/work" in line or "/root" in line or "/home" in line or "/shared" in line) and MACHINE.search(line):
                found.append(f"{relative}:{number}: {line.strip()[:80]}")
    assert not found


def test_a_machine_path_would_be_seen():
    for text in ("see ~work~main", "'~root~x'", 'open("~home~me~data")', "..~shared~data"):  # ~ for the slash
        assert MACHINE.search(text.replace("~", "/"))
    for text in ("https:~~example.org~home~page", "a~work~b", "the work"):
        assert not MACHINE.search(text.replace("~", "/"))


def test_no_file_is_a_drawer():
    for package in FORBIDDEN:
        assert not {path.stem for path in modules(package)} & {"utils", "util", "helpers", "common", "misc"}
