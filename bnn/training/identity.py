"""Identity of a training: a digest of everything that its numbers follow from, part by part.

Two trainings are the same if their parts are equal: structure of the model, its initial state, optimizers,
configuration, images. Nothing here is the printed text of an object: no memory address enters, and nothing that is not
printed is left out.
"""

import copyreg
import dis
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from itertools import zip_longest
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn.errors.keys import WriteKeys
from mtjsim.checks import ArgumentError

OURS = ("mtjsim", "bridge", "bnn")
LONGEST = 300  # characters of a description; what is longer is cut, and its digest added
OF_AN_OPTIMIZER = {"defaults", "param_groups", "state", "step"}  # a scheduler of torch wraps `step`
PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
HOOKS_OF_A_PARAMETER = ("_backward_hooks", "_post_accumulate_grad_hooks")
HOOKS_OF_AN_OPTIMIZER = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
RESULTS = ("counts", "of_weights")  # of forward passes, in modules of these packages: they are no causes
OF_TORCH = frozenset(vars(nn.Module()))  # attributes that every module has

Parts = dict[str, str]


def identity_of(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    settings: Iterable[tuple[str, object]],
    images: Mapping[str, tuple[Tensor, Tensor] | str | None],
) -> Parts:
    """Return what must be equal for two trainings to be the same, by name, each as text.

    Parameters
    ----------
    model : Module
        As it is before the first step.
    optimizers : sequence of Optimizer
    settings : pairs of a name and a value
        The configuration.
    images : mapping of str to (images, labels), a text that is equal for equal ones, or None
        By name.

    Returns
    -------
    dict of str to str
        Functions and classes of Python's and of installed packages are identified by their names, those of anyone else
        by the code that Python runs: it differs between two minor versions of Python. Of the global variables that such
        code reads, numbers, texts and functions count, not containers.

    Raises
    ------
    ValueError
        For something callable in the model without a state that could be compared.

    Examples
    --------
    >>> torch.manual_seed(0) and None
    >>> first, other = nn.Linear(2, 1), nn.Linear(2, 1)  # other initial weights, the same text
    >>> a, b = (identity_of(model, [], [("epochs", 3)], {}) for model in (first, other))
    >>> [name for name in a if a[name] != b[name]]
    ['initial state']
    """
    return {
        **{name: described(value) for name, value in settings},
        "model": structure_of(model),
        "optimizer": "\n".join(_optimizer(optimizer, model) for optimizer in optimizers),
        "initial state": state_of(model),
        **{name: _labelled(labelled) for name, labelled in images.items()},
    }


def digest_of(parts: Parts) -> str:
    """Return one SHA-256 (hex) for all parts."""
    return hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in parts.items()).encode()).hexdigest()


def difference(was: str, now: str) -> tuple[str, str]:
    """Return the first lines in which two texts of a part differ."""
    for a, b in zip_longest(was.splitlines(), now.splitlines(), fillvalue="nothing"):
        if a != b:
            return a.strip(), b.strip()
    return was, now


def structure_of(model: nn.Module) -> str:
    """Return a line for each module, with its class, and one for each of its hyperparameters."""
    return _Describer().structure(model)


def state_of(model: nn.Module) -> str:
    """Return a line for each parameter and buffer: its name, dtype, shape, and a digest of its bytes.

    How often a memory was written before does not count: a training has its own numbers of the writes.
    """
    tensors: dict[str, Any] = {**dict(model.state_dict(keep_vars=True)), **dict(model.named_buffers())}
    counters = {f"{name}._extra_state".lstrip(".") for name, module in model.named_modules() if _is_ours(type(module))}
    lines: list[str] = []
    first: dict[int, str] = {}
    for name, value in tensors.items():
        if name in counters:
            continue
        same = first.setdefault(id(value), name)
        notes = [f"the same as {same}"] * (same != name)
        notes += ["frozen"] * (isinstance(value, nn.Parameter) and not value.requires_grad)
        if isinstance(value, Tensor) and not value.is_contiguous():  # torch sums in the order of the memory
            notes += [f"strides {value.stride()}"]
        lines.append(f"{name} = {', '.join([described(value), *notes])}")
    return "\n".join(lines)


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules that are in evaluation mode in a model that is not: in a training they stay so."""
    return [module for module in model.modules() if model.training and not module.training]


def described(value: object) -> str:
    """Return a text that is equal for equal values, in any process: no memory address is in it."""
    return _Describer()(value)


def _optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> str:
    """Return class, hyperparameters, the parameters of each group by name, hooks, and attributes of an own class."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [
        {**group, "params": [names.get(id(parameter), "a parameter of no layer") for parameter in group["params"]]}
        for group in optimizer.param_groups
    ]
    parts = [described(type(optimizer)), described(groups)]
    parts += [f"hook {described(hook)}" for kind in HOOKS_OF_AN_OPTIMIZER for hook in getattr(optimizer, kind).values()]
    if _is_ours(type(optimizer)) and hasattr(optimizer, "identity"):
        parts.append(described(optimizer.identity))
    if not type(optimizer).__module__.startswith("torch.") and not _is_ours(type(optimizer)):
        own = {key: value for key, value in vars(optimizer).items() if not key.startswith("_")}
        parts += [f"{key} = {described(own[key])}" for key in sorted(own.keys() - OF_AN_OPTIMIZER)]
    return " ".join(parts)


def _labelled(labelled: tuple[Tensor, Tensor] | str | None) -> str:
    if isinstance(labelled, str):
        return labelled
    return "none" if labelled is None else f"{described(labelled[0])}, labels {described(labelled[1])}"


class _Describer:
    """Describes values; one that contains itself is described by the number of levels to it."""

    def __init__(self) -> None:
        self.within: list[int] = []  # what is being described
        self.done: dict[int, tuple[object, str]] = {}  # by `id`, which is not used again while the object is kept

    def __call__(self, value: object) -> str:
        """Return the description, cut if it is long."""
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, PLAIN):
            return _cut(repr(value) if type(value) in PLAIN else f"{type(value).__name__} {value!r}")
        if isinstance(value, (np.generic, np.ndarray, Tensor)):
            return _array(value)
        if id(value) in self.within:
            return f"what is {len(self.within) - self.within.index(id(value))} levels above"
        if id(value) not in self.done:
            self.within.append(id(value))
            self.done[id(value)] = value, _cut(self._of(value))
            self.within.pop()
        return self.done[id(value)][1]

    def _of(self, value: Any) -> str:
        inner = None if isinstance(value, (type, nn.Module)) else _inside(value)
        if inner is not None:
            return f"{_named(type(value))} of {self(inner)}"
        rules: tuple[tuple[Any, Callable[[Any], str]], ...] = (
            ((list, tuple), lambda v: f"({', '.join(map(self, v))})"),
            ((set, frozenset), lambda v: f"{{{', '.join(sorted(map(self, v)))}}}"),
            ((dict, types.MappingProxyType), self._mapping),
            ((PurePath, torch.dtype, torch.device), repr),
            (types.ModuleType, lambda v: v.__name__),
            (functools.partial, lambda v: f"partial({self(v.func)}, {self(v.args)}, {self(v.keywords)})"),
            (types.FunctionType, self._function),
            (types.MethodType, lambda v: f"{self(v.__func__)} of {self(v.__self__)}"),
            ((types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType), _named),
            (types.CodeType, self._code),
            (type, self._class),
            (nn.Module, lambda v: f"{self.structure(v)} {state_of(v)}"),
            (torch.Generator, lambda v: f"a generator in state {_array(v.get_state())}"),
            (WriteKeys, lambda v: f"stream {v.stream}"),
        )
        for kinds, describe in rules:
            if isinstance(value, kinds):
                return describe(value)
        return self._object(value)

    def structure(self, model: nn.Module) -> str:
        """Return a line for each module, and one for each of its hyperparameters."""
        lines = [line for name, module in model.named_modules() for line in self._module(name, module)]
        frozen = set(frozen_modules(model))
        lines += [f"{name} is in evaluation mode" for name, module in model.named_modules() if module in frozen]
        return "\n".join(lines)

    def _module(self, name: str, module: nn.Module) -> list[str]:
        ours = _is_ours(type(module))
        self.within.append(id(module))
        lines = [f"{name or 'the model'}: {self(type(module))}"]
        compiled = type(module).__module__.startswith("torch._dynamo")  # its child is what computes
        for key, value in () if compiled else vars(module).items():
            if key not in OF_TORCH and not (ours and (key.startswith("_") or key in RESULTS)):
                lines.append(f"{name}.{key} = {self(value)}".lstrip("."))
        for kind in HOOKS:
            lines += [f"{name}: hook {self(hook)}" for hook in getattr(module, kind).values() if not _is_ours(hook)]
        for key, parameter in module._parameters.items():
            hooks = [hook for kind in HOOKS_OF_A_PARAMETER for hook in (getattr(parameter, kind, None) or {}).values()]
            lines += [f"{name}.{key}: hook {self(hook)}".lstrip(".") for hook in hooks if not _is_ours(hook)]
        self.within.pop()
        return lines

    def _mapping(self, values: Mapping[Any, Any]) -> str:
        return f"{{{', '.join(f'{self(key)}: {self(value)}' for key, value in values.items())}}}"

    def _object(self, value: Any) -> str:
        """Describe an object by its class and what a copy of it would be made of."""
        name = self(type(value))
        if _is_ours(type(value)) and isinstance(getattr(value, "identity", None), str):
            rates = ("error_rate_0", "error_rate_1")  # of a point; not in its identity if there is a setting
            given = [f"{getattr(value, rate):.9g}" for rate in rates if hasattr(value, rate)]  # alike on all machines
            return " ".join([name, value.identity, *given])
        try:
            reduce = copyreg.dispatch_table.get(type(value))  # NumPy's functions are there
            made = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception:  # a lock, a file, a generator: no state that could be compared
            if callable(value):
                rule = f"cannot be kept of a training with {value!r}: what that computes cannot be compared"
                raise ArgumentError("checkpoint", f"{rule}. Use a function, or a class that can be copied.") from None
            return name
        if isinstance(made, str):
            return made
        arguments, state, items, pairs = (*made[1:], None, None, None)[:4]
        if isinstance(state, dict):
            cached = {
                key for key in state if isinstance(getattr(type(value), str(key), None), functools.cached_property)
            }
            state = {key: state[key] for key in state if key not in cached}
        parts = [arguments, state, *(list(each) for each in (items, pairs) if each is not None)]
        return f"{name} {' '.join(self(part) for part in parts if part is not None)}"

    def _function(self, function: types.FunctionType) -> str:
        """Describe a function by its code, or its name if it was installed, and by all that is bound to it."""
        bound = [function.__defaults__, function.__kwdefaults__, *_contents(function.__closure__ or ())]
        with_values = "".join(f" with {self(value)}" for value in bound if value is not None)
        if _installed(function):
            return f"{_named(function)}{with_values}"
        used = sorted(_globals_of(function.__code__) & set(function.__globals__))
        read = {name: function.__globals__[name] for name in used if _counts(function.__globals__[name])}
        return f"{function.__qualname__} {self._code(function.__code__)}{with_values}{f' {self(read)}' * bool(read)}"

    def _code(self, code: types.CodeType) -> str:
        return f"code {_short(self._whole_code(code).encode())} ({PYTHON})"

    def _whole_code(self, code: types.CodeType) -> str:
        constants = [
            self._whole_code(constant) if isinstance(constant, types.CodeType) else described(constant)
            for constant in code.co_consts
        ]
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        return repr((code.co_code.hex(), constants, names, code.co_argcount, code.co_kwonlyargcount, code.co_flags))

    def _class(self, kind: type) -> str:
        """Describe a class by its name, and unless it was installed by its methods and attributes."""
        if _installed(kind):
            return _named(kind)
        inside = {name: _unwrapped(value) for name, value in sorted(vars(kind).items()) if name not in OF_A_CLASS}
        bases = [base for base in kind.__bases__ if base is not object]
        return f"{kind.__qualname__} of code {_short(f'{self(inside)} {self(bases)}'.encode())} ({PYTHON})"


OF_A_CLASS = frozenset(vars(type("Empty", (), {"__annotations__": {}}))) | {
    "__slots__",
    "__abstractmethods__",
    "_abc_impl",
}
PLAIN = (type(None), bool, int, float, complex, str, bytes)


def _array(value: Any) -> str:
    """Return dtype, shape and a digest of the bytes of an array or a tensor."""
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            return f"a tensor {value.dtype} {tuple(value.shape)} {tensor!r}"
        plain = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
        name, shape, content = str(value.dtype).removeprefix("torch."), tuple(value.shape), plain.numpy().data
    else:
        array = np.ascontiguousarray(value)
        if array.dtype.hasobject:
            return f"an array of objects {np.shape(value)} {_short(repr(array.tolist()).encode())}"
        name, shape, content = str(array.dtype), np.shape(value), array.reshape(-1).view(np.uint8).data
    return f"{name} {shape} sha256 {_short(content)}"


def _short(content: bytes | memoryview) -> str:
    """Return the first 16 digits of a SHA-256: two different contents share them with a chance of 5e-20."""
    return hashlib.sha256(content).hexdigest()[:16]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 30]}... sha256 {_short(text.encode())}"


def _contents(cells: Iterable[types.CellType]) -> list[object]:
    """Return what a closure refers to; a cell may still be empty."""
    found = []
    for cell in cells:
        with suppress(ValueError):
            found.append(cell.cell_contents)
    return found


def _unwrapped(value: Any) -> Any:
    """Return the functions in an attribute of a class."""
    if isinstance(value, property):
        return value.fget, value.fset
    if isinstance(value, (types.GetSetDescriptorType, types.MemberDescriptorType)):
        return None
    return getattr(value, "func", getattr(value, "__func__", value))  # of a cached property; of a static method


def _inside(value: Any) -> Any:
    """Return the function that is compiled or cached in what an installed package made of it, or None."""
    if hasattr(value, "py_func"):  # numba
        return value.py_func
    wrapped = getattr(value, "__wrapped__", None)  # functools.lru_cache, torch.compile
    return wrapped if not isinstance(value, types.FunctionType) or _installed_code(value) else None


def _installed_code(function: types.FunctionType) -> bool:
    return function.__code__.co_filename.startswith(INSTALLED)


def _named(value: Any) -> str:
    return f"{getattr(value, '__module__', None) or ''}.{getattr(value, '__qualname__', value)}".lstrip(".")


def _installed(value: Any) -> bool:
    """Whether a function or class is of these packages, of Python's or of an installed one."""
    top = (value.__module__ or "").split(".")[0]
    if top in OURS or top in sys.stdlib_module_names:
        return True
    module = sys.modules.get(value.__module__ or "")
    file = getattr(module, "__file__", None)
    if file is None:
        return top not in ("__main__", "__mp_main__", "") and module is not None
    return file.startswith(INSTALLED)


def _is_ours(value: Any) -> bool:
    return str(getattr(getattr(value, "__func__", value), "__module__", "")).split(".")[0] in OURS


def _globals_of(code: types.CodeType) -> set[str]:
    """Return the names of global variables that a code reads, in functions inside it too."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return names.union(*map(_globals_of, inner))


def _counts(value: object) -> bool:
    """Whether a global variable is part of what a function does."""
    if isinstance(value, tuple):
        return all(map(_counts, value))
    kinds = (*PLAIN, np.generic, np.ndarray, Tensor, types.FunctionType, functools.partial, type)
    return isinstance(value, kinds)
