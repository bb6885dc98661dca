"""Numbers that are non-finite: a guard that names layer and step at once, and a diagnosis afterwards."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from bnn.evaluation.logits import first_non_finite_layer
from bnn.layers.whole_model import checked_model


class DivergedError(FloatingPointError):
    """A loss or a weight that is not finite, found in all processes of a training alike."""


def guard_finite(model: nn.Module) -> FiniteGuard:
    """Watch every output, gradient and parameter of `model`, until the first that is not finite.

    Parameters
    ----------
    model : Module

    Returns
    -------
    FiniteGuard
        A context manager; without a ``with``, it watches until its `close`. Its `step` is named in messages: the number
        of forward passes of the model, from 0, until it is set by the caller.

    Raises
    ------
    FloatingPointError
        In the forward or backward pass in which it happens: for an input of the model, a parameter (before it is used;
        the update of the step before has spoilt it), the output of a layer, or a gradient of a parameter or of a
        layer's output, with the layer's name, the step, and how many values are NaN or infinite.

    Notes
    -----
    The cost is one pass over each tensor: for a training that fails, not for every training.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> with guard_finite(model) as guard:
    ...     for guard.step in range(3, 5):
    ...         with torch.no_grad():
    ...             model[0].bias[1] = float("inf") if guard.step == 4 else 0.0
    ...         _ = model(torch.ones(1, 2))
    Traceback (most recent call last):
    ...
    FloatingPointError: parameter 0.bias is not finite before step 4: 0 NaN, 1 infinite of 2 values.
    """
    return FiniteGuard(checked_model(model))


class FiniteGuard:
    """The hooks that `guard_finite` puts on a model."""

    def __init__(self, model: nn.Module) -> None:
        self._step, self._counts = -1, True
        self._handles: list[Any] = [model.register_forward_pre_hook(self._begin)]
        for name, module in model.named_modules():
            own = [(f"{name}.{key}".lstrip("."), p) for key, p in module.named_parameters(recurse=False)]
            if own:
                self._handles.append(module.register_forward_pre_hook(self._watch_parameters(own)))
            self._handles += [p.register_hook(self._watch_gradient(key)) for key, p in own if p.requires_grad]
            self._handles.append(module.register_forward_hook(self._watch_output(name)))

    @property
    def step(self) -> int:
        """The step that messages name."""
        return max(self._step, 0)

    @step.setter
    def step(self, step: int) -> None:
        self._step, self._counts = step, False

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._step += self._counts
        for value in inputs:
            self._watch("the input of the model", value, "in")

    def _watch_parameters(self, parameters: list[tuple[str, nn.Parameter]]) -> Callable[..., None]:
        def look(module: nn.Module, inputs: object) -> None:
            for name, parameter in parameters:
                self._watch(f"parameter {name}", parameter, "before")

        return look

    def _watch_output(self, name: str) -> Callable[..., None]:
        def look(module: nn.Module, inputs: object, output: Any) -> None:
            where = f"{name} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
            for value in output if isinstance(output, (tuple, list)) else (output,):
                self._watch(f"the output of {where}", value, "in")
                if isinstance(value, Tensor) and value.requires_grad:
                    value.register_hook(self._watch_gradient(f"the output of {where}"))

        return look

    def _watch_gradient(self, name: str) -> Callable[[Tensor], None]:
        return lambda gradient: self._watch(f"the gradient of {name}", gradient, "in")

    def _watch(self, what: str, value: Any, when: str) -> None:
        if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
            return
        if value.detach().sum().isfinite() or value.isfinite().all():  # a finite sum has finite terms
            return
        nan, infinite = int(value.isnan().sum()), int(value.isinf().sum())
        raise FloatingPointError(
            f"{what} is not finite {when} step {self.step}: {nan} NaN, {infinite} infinite of {value.numel()} values."
        )


@torch.no_grad()
def diagnosis(
    model: nn.Module, x: Tensor, epoch: int, step: int, loss: float, *, in_words: bool = False, updated: bool = False
) -> str:
    """Return where numbers were first not finite: in gradients, in the weights, or in this forward pass.

    `in_words`: parameters are in words of an error-prone memory, which may be the reason. `updated`: the gradients are
    those of this step, not of the one before.
    """
    where = f"in epoch {epoch}, step {step} (loss {loss})"
    advice = "Lower learning_rate, or check the scale of the images."
    if in_words:
        advice = (
            "Parameters are in words of an error-prone memory, where a failed cell of an exponent does this: give its "
            'MRAM a protection, "parity" or Protection("range", limit=...), or a better point.'
        )
    parameters = list(model.named_parameters())
    for name, parameter in reversed(parameters):  # the backward pass meets the last layer first
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name}{'' if updated else ' in the step before'} is not finite, {where}. {advice}"
    for name, parameter in parameters:
        if not parameter.isfinite().all():
            return f"{name} is not finite, {where}. {advice}"
    return f"the output of {first_non_finite_layer(model, x) or 'the model'} is not finite, {where}. {advice}"
