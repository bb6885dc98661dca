"""Errors of calls that do not fit a function's parameters."""

import difflib
import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def shows_its_call(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: the TypeError of a missing or an unknown argument has its whole call in it.

    Examples
    --------
    >>> @shows_its_call
    ... def solve(device, currents=None, *, seed):
    ...     pass
    >>> solve("a junction", current=1e-6, seed=1)
    Traceback (most recent call last):
    TypeError: solve() got an unexpected keyword argument 'current' (did you mean 'currents'?): call it as
    solve(device, currents=None, *, seed).
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TypeError:
            signature, name = inspect.signature(function), function.__name__
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                problem = f"{name}() {_unknown(kwargs, signature) or error}"
            else:
                raise
        plain = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
        raise TypeError(f"{problem}: call it as {name}{inspect.Signature(plain)}.")

    return called


def _unknown(given: dict[str, object], signature: inspect.Signature) -> str:
    """Return what is wrong with the first keyword that the function does not have; "" without one."""
    unknown = [name for name in given if name not in signature.parameters]
    if not unknown:
        return ""
    near = difflib.get_close_matches(unknown[0], list(signature.parameters), n=1)
    return f"got an unexpected keyword argument {unknown[0]!r}{f' (did you mean {near[0]!r}?)' if near else ''}"
