"""Names in docstrings, messages and the README can be followed as they are written, after `import` of the package."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

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
