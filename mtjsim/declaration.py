"""Declarations on pydantic whose help, completion and signature contain their own names only."""

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mtjsim.checks import missing_attribute

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _ModelType
else:
    _ModelType = type(BaseModel)

_OF_OBJECT = set(dir(object))
_OF_PYDANTIC = set(dir(BaseModel)) - _OF_OBJECT


class _ShortHelp(_ModelType):
    """Type of a declaration: `dir` and `help` leave out what pydantic adds."""

    def __dir__(cls) -> list[str]:
        return sorted(
            name
            for name in super().__dir__()
            if name in _OF_OBJECT or not (name in _OF_PYDANTIC or name.startswith(("__", "model_")))
        )


class Declaration(BaseModel, metaclass=_ShortHelp):
    """Base of a declaration with keyword-only fields; pydantic's own methods work, and are not shown.

    Examples
    --------
    >>> class Disc(Declaration):
    ...     diameter: float
    ...     thickness: float = 1e-9
    >>> inspect.signature(Disc)
    <Signature (*, diameter: float, thickness: float = 1e-09)>
    >>> [name for name in dir(Disc(diameter=1e-8)) if not name.startswith("_")]
    ['diameter', 'thickness']
    >>> Disc(diameter=1e-8, thickness=1e-9)
    Disc(diameter=1e-08)
    """

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *type(self).model_fields})

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> Any:
            """Raise the error of a mistyped attribute, with the nearest name."""
            try:
                return super().__getattr__(name)
            except AttributeError:
                names = dir(self)
                if name in names:  # a property that fails
                    raise
                raise missing_attribute(f"{type(self).__name__!r} object", name, names) from None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return [(name, value) for name, value in super().__repr_args__() if value != _default(type(self), name)]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Give the class a signature without the rules of the fields, which messages contain."""
        fields = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.is_required() else _default(cls, name),
                annotation=field.annotation,
            )
            for name, field in cls.model_fields.items()
        ]
        cls.__signature__ = inspect.Signature(fields)


def _default(kind: type[BaseModel], name: str | None) -> Any:
    """Return the default of a field, and nothing equal to a value where it has none."""
    field = kind.model_fields.get(name or "")
    if field is None or field.is_required():
        return object()
    return field.get_default(call_default_factory=True)
