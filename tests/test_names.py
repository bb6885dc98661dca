"""Names in docstrings, messages and the README can be followed as they are written, after `import` of the package."""

import ast
import copy
import functools
import importlib
import inspect
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bridge
from mtjsim import ErrorCount, load_preset
from mtjsim.checks import Suggesting

ROOT = Path(__file__).parents[1]
PACKAGES = ("mtjsim", "bridge", "bnn")
NAME = re.compile(r"(?<![\w./-])(?<!from )(?<!import )(?:mtjsim|bridge|bnn)(?:\.[A-Za-z_]\w*)+")  # not what is imported

# A name is public, or is followed in a fork of its own: the import of one name can make another one reachable.
RESOLVE = """
import importlib, json, os, sys
import torch
names = json.load(sys.stdin)
packages = ("mtjsim", "bridge", "bnn")
public = {f"{package}.{name}" for package in packages for name in dir(importlib.import_module(package))}
def resolves(name):
    first, *rest = name.split(".")
    value = importlib.import_module(first)
    try:
        for part in rest:
            value = getattr(value, part)
    except AttributeError:
        return False
    return True
bad = []
for name in set(names) - public:
    child = os.fork()
    if not child:
        os._exit(0 if resolves(name) else 1)
    if os.waitpid(child, 0)[1]:
        bad.append(name)
print(json.dumps(bad))
"""


def named():
    """Dotted names of our packages in texts (not in code), and where they are."""
    found = {}
    texts = {"README.md": [(ROOT / "README.md").read_text("utf-8")]}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        strings = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        texts[str(path.relative_to(ROOT))] = [text for text in strings if " " in text]
    for where, parts in texts.items():
        for name in (name for text in parts for name in NAME.findall(text)):
            found.setdefault(name, set()).add(where)
    return found


def unresolved(names):
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE], input=json.dumps(names), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_names_in_texts_can_be_followed():
    found = named()
    assert len(found) > 50
    wrong = ["bnn.binarize.clip_latent_", "bnn.errors.adress"]  # they would be seen
    assert sorted(unresolved([*sorted(found), *wrong])) == sorted(wrong), {n: found.get(n) for n in found}


def test_a_signature_is_short():
    for package in map(importlib.import_module, PACKAGES):
        for name in package.__all__:
            value = getattr(package, name)
            if callable(value) and not (isinstance(value, type) and issubclass(value, Warning)):
                assert len(str(inspect.signature(value))) < 900, f"{package.__name__}.{name}"


WITHOUT_MTJSIM = {"bnn.data.images"}  # imports NumPy alone


def public_classes():
    for package in map(importlib.import_module, PACKAGES):
        for name in package.__all__:
            kind, others = getattr(package, name), (Exception, torch.nn.Module, torch.optim.Optimizer)
            if isinstance(kind, type) and not issubclass(kind, others) and kind.__module__ not in WITHOUT_MTJSIM:
                yield f"{package.__name__}.{name}", kind


def test_a_mistyped_attribute_of_every_public_class_is_suggested():
    """Without an instance: most need data. In a notebook nothing but the message suggests a name."""
    names = {}
    for name, kind in public_classes():
        with pytest.raises(AttributeError) as caught:
            kind.__getattr__(object.__new__(kind), "zzz")
        names[name] = str(caught.value)
    assert len(names) >= 35
    assert {text for text in names.values() if not re.fullmatch(r"'\w+' object has no attribute 'zzz'", text)} == set()
    for changed in (load_preset("arm_2021"), ErrorCount(1, 2), bridge.WriteSetting(pulse_width=1e-8, current=5e-5)):
        name = next(attribute for attribute in dir(changed) if not attribute.startswith("_"))
        with pytest.raises(AttributeError, match=f"'{type(changed).__name__}' object has .* Did you mean '{name}'"):
            getattr(changed, name + "s")
        assert copy.deepcopy(changed) == pickle.loads(pickle.dumps(changed)) == changed
        assert not hasattr(changed, "__array__")


def test_a_property_that_fails_raises_its_own_error():
    class Broken(Suggesting):
        @property
        def sum(self):
            return self.part

        @functools.cached_property
        def product(self):
            return None.factor

    with pytest.raises(AttributeError, match="no attribute 'part'"):
        _ = Broken().sum
    with pytest.raises(AttributeError, match="no attribute 'factor'"):
        _ = Broken().product
