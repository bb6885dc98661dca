"""Quantizers: signs +-1 in the forward pass, with a chosen gradient in the backward pass.

Bit 1 is +1, bit 0 is -1, and ``sign(0) = sign(-0.0) = +1`` everywhere in this package, so that a bit always has one of
two values. NaN stays NaN, so that a diverged training is visible in the loss. In an exported model (`torch.export`,
ONNX, `torch.jit.trace`) a sign is ``where(x >= 0, 1, -1)``: without a gradient, and -1 for NaN.

References
----------
.. [1] Hubara, Courbariaux, Soudry, El-Yaniv, Bengio, "Binarized neural networks", arXiv:1602.02830 (2016).
.. [2] Rastegari, Ordonez, Redmon, Farhadi, "XNOR-Net", arXiv:1603.05279 (2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from bnn.errors.transforms import exported

SWISH_BETA = 5.0  # larq's default; BNN+ uses 5 and 10


def ste_sign(x: Tensor) -> Tensor:
    """Sign with the straight-through gradient: 1 where ``|x| <= 1``, 0 elsewhere [1].

    Parameters
    ----------
    x : Tensor, any shape, floating point

    Returns
    -------
    Tensor, same shape and dtype
        +1 where ``x >= 0`` (both zeros included), -1 where ``x < 0``, NaN where ``x`` is NaN.

    Examples
    --------
    >>> ste_sign(torch.tensor([-2.0, -0.0, 0.5, float("nan")]))
    tensor([-1.,  1.,  1., nan])
    """
    if has_torch_function_unary(x):  # one node in a graph of torch.fx, with its gradient
        return handle_torch_function(ste_sign, (x,), x)
    transformed = _transformed(x, _ste_gradient)
    return _SteSign.apply(x) if transformed is None else transformed


def approx_sign(x: Tensor) -> Tensor:
    """Sign with Bi-Real Net's gradient: ``2 - 2 |x|`` where ``|x| <= 1``, 0 elsewhere [1]. Values as `ste_sign`.

    Notes
    -----
    The derivative of a piecewise quadratic approximation of the sign: 0 at -1 and +1, 2 at 0.

    References
    ----------
    .. [1] Liu, Wu, Luo, Yang, Liu, Cheng, "Bi-Real Net", arXiv:1808.00278 (2018).

    Examples
    --------
    >>> x = torch.tensor([-2.0, -0.5, 0.0, 0.75], requires_grad=True)
    >>> approx_sign(x).sum().backward()
    >>> x.grad.tolist()
    [0.0, 1.0, 2.0, 0.5]
    """
    if has_torch_function_unary(x):  # one node in a graph of torch.fx, with its gradient
        return handle_torch_function(approx_sign, (x,), x)
    transformed = _transformed(x, _approx_gradient)
    return _ApproxSign.apply(x) if transformed is None else transformed


def swish_sign(x: Tensor) -> Tensor:
    """Sign with the SwishSign gradient of BNN+ [1], beta = 5 as in larq. Values as `ste_sign`.

    Notes
    -----
    With ``z = beta x`` the gradient is ``beta (2 - z tanh(z / 2)) / (1 + cosh z)``: beta at 0, slightly negative from
    ``|z| = 2.4`` on. Beyond ``|z| = 80``, where cosh would overflow in float32, its value at 80 is taken (below 1e-30).

    References
    ----------
    .. [1] Darabi, Belbahri, Courbariaux, Partovi Nia, "BNN+: improved binary network training", arXiv:1812.11800
       (2018).

    Examples
    --------
    >>> x = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> swish_sign(x).sum().backward()
    >>> [f"{slope:.3f}" for slope in x.grad.tolist()]
    ['5.000', '-0.195']
    """
    if has_torch_function_unary(x):  # one node in a graph of torch.fx, with its gradient
        return handle_torch_function(swish_sign, (x,), x)
    transformed = _transformed(x, _swish_gradient)
    return _SwishSign.apply(x) if transformed is None else transformed


def xnor_scale(weight: Tensor) -> Tensor:
    """Mean absolute latent weight of each output filter [2].

    Parameters
    ----------
    weight : Tensor, shape (filters, ...)

    Returns
    -------
    Tensor, shape (filters,)
        Differentiable, as in XNOR-Net.
    """
    return weight.abs().flatten(1).mean(dim=1)


@torch.no_grad()
def center_latent_(weight: Tensor) -> None:
    """Subtract from a latent weight, shape (filters, inputs, ...), its mean over the inputs, in place.

    The code of XNOR-Net [2] does so before each step, for every position of the kernel separately; the paper does not
    mention it.
    """
    weight.sub_(weight.mean(dim=1, keepdim=True))


def _sign(x: Tensor) -> Tensor:
    """Return +-1, or NaN where x is NaN. Three passes in one buffer: three times as fast as `torch.where`."""
    out = x + 0.0  # -0.0 + 0.0 = +0.0
    torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), out, out=out)
    return torch.clamp(x, out, out, out=out)  # the identity on numbers; NaN where x is NaN


def _transformed(x: Tensor, gradient: Callable[[Tensor, Tensor], Tensor]) -> Tensor | None:
    """Return the sign in operators that exports and `torch.func` have; None where an autograd function does."""
    to_export = exported()
    if not to_export and not torch._C._are_functorch_transforms_active():
        return None
    one = torch.ones((), dtype=x.dtype, device=x.device)
    sign = torch.where(x >= 0, one, -one)
    if to_export:
        return sign
    finite = x.clamp(torch.finfo(x.dtype).min, torch.finfo(x.dtype).max)
    slope = gradient(x.detach(), torch.ones_like(x))
    return torch.where(x == x, sign, x).detach() + slope * (finite - finite.detach())  # the last is 0, with a gradient


class _SteSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _ste_gradient(x, gradient)


class _ApproxSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _approx_gradient(x, gradient)


class _SwishSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _swish_gradient(x, gradient)


def _ste_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    edge = 1.0 + torch.finfo(x.dtype).eps  # the fused kernel's window is open: |x| < next(1) is |x| <= 1
    return torch.ops.aten.hardtanh_backward(gradient, x, -edge, edge)


def _approx_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    return gradient * x.abs().mul_(-2.0).add_(2.0).clamp_min_(0.0)  # the bits of 2 - 2 |x|, in one buffer


def _swish_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    z = (SWISH_BETA * x).clamp(-80.0, 80.0)
    return gradient * SWISH_BETA * (2.0 - z * torch.tanh(0.5 * z)) / (1.0 + torch.cosh(z))
