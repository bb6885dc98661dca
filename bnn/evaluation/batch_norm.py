"""BatchNorm at another error rate: new statistics, in closed form or from data.

Bits written with errors make every binary product smaller. With a = 1 - p01 - p10 and b = p10 - p01 (p01: error_rate_1,
p10: error_rate_0) the mean of a written bit x is a x + b, and the mean of a product of f inputs and weights, each
written with independent errors, is

    E[sum_i w'_i x'_i] = a_w a_x sum_i w_i x_i + a_w b_x sum_i w_i + b_w a_x sum_i x_i + f b_w b_x,

for equal rates (1 - 2 p_w)(1 - 2 p_x) times the error-free product. A threshold that was trained at one rate belongs to
that mean and is wrong at another rate. `rescale_batch_norm` corrects it in closed form, `reestimate_batch_norm` from
data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnn.errors.bits import BLOCK
from bnn.errors.rates import HasRates, point_of
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.draws import Draws, error_draws
from bnn.evaluation.logits import check_fits
from bnn.layers.binary import QUANTIZER_OF, BinaryConv2d, BinaryLayer
from bnn.layers.feature_norm import FeatureNorm
from bnn.layers.graph import IDENTITIES, UntraceableError, called_layers, eager_copy, traced
from bnn.layers.inputs import image_tensor
from bnn.layers.whole_model import copied_model
from mtjsim.checks import ArgumentError, checked_whole
from mtjsim.rng import checked_seed

if TYPE_CHECKING:
    from bnn.data.labelled import Labelled
    from bridge.write import OperatingPoint

Rates = Mapping[str, Any] | str | None
SLOT_OF = {"activations": "activation_memory", "weights": "weight_memory"}
REMEDY = "Use reestimate_batch_norm()"
BETWEEN = (*IDENTITIES, nn.Flatten)  # what lets a mean through, in evaluation mode


# ---- in closed form --------------------------------------------------------------------------------------------------


@torch.no_grad()
def rescale_batch_norm(model: nn.Module, *, trained_at: Rates = "as_trained", run_at: Rates = None) -> nn.Module:
    """Move the thresholds of a trained network to another error rate; no data.

    Parameters
    ----------
    model : Module
        Not touched.
    trained_at, run_at : mapping, "as_trained" or None
        The errors of the training, and those that the network will run with. ``{"activations": point, "weights":
        point}``, each an operating point, a `WriteErrors` or a pair (error_rate_0, error_rate_1), a missing one
        error-free; "as_trained": those of the memories in each layer's slots; None: error-free.

    Returns
    -------
    Module
        A copy with other statistics. Its memories are those of `model`, copied.

    Raises
    ------
    ValueError
        Where it cannot be done exactly: the product is followed by neither a BatchNorm nor a scale of the layer (see
        Notes), the rates of weights are unequal, those of activations are unequal before a zero padding, two rates add
        up to 1 or more, rates are not one number a memory, or the weights of a scaled layer are not its own. Then use
        `reestimate_batch_norm`.

    Notes
    -----
    Let r = a_run / a_trained, the ratio of the factors a = a_w a_x above; for equal rates (1 - 2q) / (1 - 2p) of the
    weights times that of the activations. With scale s (XNOR-Net's, or 1) and bias c of the layer, S = sum_i w_i and
    B = a_w b_x S at each rate, a BatchNorm that reads the layer (also through Identity, Flatten or Dropout) gets

        running_mean <- c + s B_run + r (running_mean - c - s B_trained),   var + eps <- r^2 (var + eps),

    so that its output at the new rate has the *mean* that it had at the old one, for every input, and each threshold of
    a sign after it is crossed by the same error-free product. This is exact, whatever the weights. The whole variance
    is scaled, though only the signal's part scales with r^2; the errors' part does not (per bit 1 - a_x^2 for
    activations, at equal rates). So the variance of the output at the new rate is not 1: it is less if q < p.
    `reestimate_batch_norm` restores the variance instead.

    A ternary value is the difference of its two cells, so that their shifts cancel: b = 0, at unequal rates too.

    A layer with its own scale (real weights on written bits, or XNOR-Net's scale) that no BatchNorm reads directly has
    its weights divided by r instead (their signs stay) and c moved by s (B_trained - B_run / r): its product has the
    old mean again, whatever follows. If that is a ReLU or a maximum of noisy values, their mean also depends on the
    noise, which is not corrected.

    Examples
    --------
    >>> from bnn.models import mlp
    >>> point = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=0)
    >>> model = mlp(seed=1)
    >>> model[2].running_mean.fill_(5.0), model[4].running_mean.fill_(5.0)
    (tensor([5., ..., 5.]), tensor([5., ..., 5.]))
    >>> clean = rescale_batch_norm(model, trained_at={"weights": point})
    >>> clean[2].running_mean[0], clean[4].running_mean[0]  # the first layer's weights are real: 5 and 5 / 0.8
    (tensor(5.), tensor(6.2500))
    """
    for argument, errors in (("trained_at", trained_at), ("run_at", run_at)):
        _check_errors(argument, errors)
    model = eager_copy(copied_model(model))
    owners = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
    readers: dict[str, tuple[str, nn.Module] | str] | None = None
    for name, layer in model.named_modules():
        if not isinstance(layer, BinaryLayer):
            continue
        before, after = _means("trained_at", trained_at, name, layer), _means("run_at", run_at, name, layer)
        if before == after:
            continue
        readers = _readers(model) if readers is None else readers
        own = owners[id(layer.weight)] == 1
        _rescale(name, layer, before, after, readers.get(name, "it is not called"), own=own)
    return model


Mean = tuple[float, float]  # (a, b) of written bits
Means = tuple[Mean, Mean]  # of activations and of weights


def _check_errors(argument: str, errors: Any) -> None:
    if not isinstance(errors, Mapping):
        if errors is not None and errors != "as_trained":
            rule = 'must be a mapping such as {"weights": point}, "as_trained" or None'
            raise ArgumentError(argument, f"{rule}, got {errors!r}.")
    elif unknown := set(errors) - set(SLOT_OF):
        raise ArgumentError(argument, f"must have the keys {' and '.join(SLOT_OF)}, got {sorted(unknown)[0]!r}.")


def _means(argument: str, errors: Any, name: str, layer: BinaryLayer) -> Means:
    """Return a and b of a layer's written activations and weights."""

    def mean(kind: str, slot: str) -> Mean:
        point = errors.get(kind) if isinstance(errors, Mapping) else errors and getattr(layer, slot)
        if point is None or getattr(layer, QUANTIZER_OF[slot]) is None:
            return 1.0, 0.0
        where, levels = f"{argument}: {kind} of layer {name!r}", layer.levels_of(QUANTIZER_OF[slot])
        if levels > 3:
            raise ValueError(f"{where} must have two or three levels to be stored, got {levels}.")
        a, b = _mean(point, where)
        return (a, b) if levels == 2 else (a, 0.0)  # (plus - minus)/2: the shifts of the two cells cancel

    activations, weights = (mean(kind, slot) for kind, slot in SLOT_OF.items())
    return activations, weights


def _mean(point: Any, where: str) -> Mean:
    point = point_of(where, point) if isinstance(point, tuple) else point
    independent = type(point) is WriteErrors or not isinstance(point, nn.Module)
    rates = (point.error_rate_0, point.error_rate_1) if independent and isinstance(point, HasRates) else ()
    if not rates or not all(isinstance(rate, (int, float)) for rate in rates):
        rule = "must have one error_rate_0 and one error_rate_1, independent of the cells' former bits"
        raise ValueError(f"{where} {rule}, got {point!r}. Use reestimate_batch_norm().")
    p10, p01 = rates
    a, b = 1.0 - p01 - p10, p10 - p01
    if not a > 0.0:
        raise ValueError(f"{where} must have error rates that add up to < 1, got {rates}: nothing of the bit is left.")
    return a, b


def _rescale(
    name: str, layer: BinaryLayer, before: Means, after: Means, reader: tuple[str, nn.Module] | str, *, own: bool
) -> None:
    """Give one layer's product at `after` the mean that it has at `before`: in its reader, or in its own scale."""
    (ax_t, bx_t), (aw_t, bw_t) = before
    (ax_r, bx_r), (aw_r, bw_r) = after
    problem = None
    if bw_t or bw_r:
        problem = "weights must be equal here: the mean of the product then depends on each input's sum"
    elif (bx_t or bx_r) and isinstance(layer, BinaryConv2d) and layer.padding:
        problem = "activations must be equal before a zero padding: padded zeros are not written, so the mean varies"
    if problem is not None:
        raise ValueError(f"layer {name!r}: error_rate_0 and error_rate_1 of {problem}. {REMEDY}.")
    r = (ax_r * aw_r) / (ax_t * aw_t)
    weight, binary = layer.quantized_weight(), layer.weight_quantizer is not None
    scale = layer.output_scale()
    s: Any = 1.0 if scale is None else scale
    sums = s * weight.flatten(1).sum(dim=1)
    was, now = sums * (aw_t * bx_t), sums * (aw_r * bx_r)
    c: Any = torch.zeros_like(was) if layer.bias is None else layer.bias
    if isinstance(reader, tuple):
        norm: Any = reader[1]
        norm.running_mean.copy_(c + now + r * (norm.running_mean - c - was))
        norm.running_var.copy_(r**2 * (norm.running_var + norm.eps) - norm.eps)
    elif not binary or scale is not None:
        if not own:
            rule = "has weights of several layers or of a parametrization, which cannot be scaled for it alone"
            raise ValueError(f"layer {name!r} {rule}. {REMEDY}.")
        layer.weight.div_(r)
        if bx_t or bx_r:
            layer.bias = nn.Parameter(c + was - now / r)
    else:
        rule = f"must be read by a BatchNorm or have a scale of its own, but {reader}"
        raise ValueError(f"layer {name!r} {rule}. {REMEDY}, or move the BatchNorm before it.")


def _readers(model: nn.Module) -> dict[str, tuple[str, nn.Module] | str]:
    """Find for each called layer the BatchNorm that alone reads it, by name and module, or the reason if there is none.

    A model that cannot be traced gives the reason for every layer.
    """
    graph = traced(model)
    if isinstance(graph, UntraceableError):
        return dict.fromkeys(dict(model.named_modules()), str(graph))
    calls = Counter(name for name, _ in called_layers(graph))
    layers = [(name, node, model.get_submodule(name)) for name, node in called_layers(graph)]
    return {
        name: _reader(model, node, calls, outputs=len(layer.weight))
        for name, node, layer in layers
        if isinstance(layer, BinaryLayer)
    }


def _reader(model: nn.Module, node: fx.Node, calls: Counter[str], outputs: int) -> tuple[str, nn.Module] | str:
    while True:
        name = str(node.target)
        if node.op == "call_module" and calls[name] > 1:
            return f"{name!r} is called {calls[name]} times"
        if len(node.users) != 1:
            return f"{len(node.users)} readers follow {node.name}"
        (node,) = node.users
        if node.op != "call_module":
            return "the model's output follows" if node.op == "output" else f"{node.name} follows"
        module = model.get_submodule(str(node.target))
        if isinstance(module, _BatchNorm):
            break
        if not isinstance(module, BETWEEN):
            return f"{node.target!r}, a {type(module).__name__}, follows"
    if calls[str(node.target)] > 1:
        return f"{node.target!r} is called {calls[str(node.target)]} times"
    if module.running_mean is None or module.num_features != outputs:
        return f"{node.target!r} has no running statistics of each of its outputs"
    return str(node.target), module


# ---- from data -------------------------------------------------------------------------------------------------------


def reestimate_batch_norm(
    model: nn.Module,
    data: Labelled | Tensor | np.ndarray,
    *,
    errors: OperatingPoint | WriteErrors | str | None = "as_trained",
    weight_errors: OperatingPoint | WriteErrors | str | None = "as_trained",
    draws: int = 1,
    seed: int = 0,
    batch_size: int = 1024,
) -> nn.Module:
    """Estimate the statistics of every BatchNorm again, from data, under chosen errors.

    Parameters
    ----------
    model : Module
        Left as it was, with its memories.
    data : array or Tensor (n, ...), or labelled images as for `bnn.evaluate`
        Training images; labels are not used.
    errors, weight_errors : operating point, WriteErrors, "as_trained" or None
        Errors of activations and weights, as for `bnn.evaluate`, drawn by the same keys.
    draws : int, >= 1
        Passes over the data, each with activations and weights written again. One for the statistics of one die; many
        (20) for those of dies in general, over fewer images if necessary: see Notes.
    seed : int, >= 0
    batch_size : int, >= 1
        Images in a forward pass. Statistics are summed in float64 over blocks of 256 images for any batch size.

    Returns
    -------
    Module
        A copy with other running_mean and running_var. Everything else is that of `model`.

    Raises
    ------
    ValueError
        For a model without a BatchNorm that keeps statistics, or with one that is called more than once, for images
        that do not fit it, errors that would touch nothing, or numbers out of range.

    Notes
    -----
    The BatchNorms are estimated in the order in which an image passes them, each after the former ones, in evaluation
    mode (dropout off): the statistics are those of the network that will run, and independent of the batch size. Each
    takes `draws` passes up to its place. Mean and (unbiased) variance are over all images and places of one draw, and
    running_mean and running_var the means of these over draws, with equal weights. So running_var contains the spread
    of the data and of the activations' errors, but not that of the means between programmings of the weights: as in
    training, where each batch is of one programming.

    Each programming of the weights shifts a mean, and statistics of few programmings contain their shifts: the binary
    MLP of notebooks/results/batch_norm, trained at 5 % weight errors and run with them, had 94.6 % as it was, and
    re-estimated from 2, 10 and 40 programmings 93.1, 94.5 and 94.7 %.

    Examples
    --------
    >>> from bnn.data import load
    >>> from bnn.models import mlp
    >>> model, train = mlp(seed=1), load("digits").train
    >>> clean = reestimate_batch_norm(model, train, errors=None, weight_errors=None)
    >>> images = torch.from_numpy(train.scaled())
    >>> products = clean[1](images.flatten(1))
    >>> torch.allclose(clean[2].running_mean, products.mean(dim=0), atol=1e-5)
    True
    """
    checked_seed(seed)
    checked_whole("draws", draws, least=1)
    checked_whole("batch_size", batch_size, least=1)
    images = image_tensor(model, "data", data)
    if len(images) < 2:
        raise ArgumentError("data", f"must have at least two images, got {len(images)}: one has no variance.")
    model = copied_model(model)
    with error_draws(model, errors, weight_errors, seed=seed) as written:
        try:
            order = _in_order(model, images[:1], written)
        except RuntimeError:
            check_fits(model, "data", images)
            raise
        for norm in order:
            passes = range(draws if written.any else 1)
            statistics = [_statistics(model, norm, images, written, draw, batch_size) for draw in passes]
            mean, var = (torch.stack(parts).mean(dim=0) for parts in zip(*statistics, strict=True))
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
    return model


def _in_order(model: nn.Module, image: Tensor, written: Draws) -> list[Any]:
    """List the BatchNorms in the order in which an image passes them."""
    order: list[nn.Module] = []
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]
    hooks = [norm.register_forward_pre_hook(lambda module, _: order.append(module)) for norm in norms]
    written.begin(0)
    for batch in written.batches(image, 1):
        model(batch)
    for hook in hooks:
        hook.remove()
    if not order or len(set(order)) < len(order):
        found = "no BatchNorm that keeps statistics" if not order else "a BatchNorm that is called more than once"
        raise ArgumentError("model", f"must have BatchNorms that each keep the statistics of one place, got {found}.")
    return order


class _ReachedError(Exception):
    """Ends a forward pass at the BatchNorm whose input is collected."""


def _statistics(
    model: nn.Module, norm: nn.Module, images: Tensor, written: Draws, draw: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased variance of each channel of the input of `norm` in one draw, float64."""
    sums: list[Tensor] = []  # of 1, x, x^2
    channel = -1 if isinstance(norm, FeatureNorm) else 1

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for x in inputs[0].split(BLOCK):
            x = x.double().movedim(channel, 0).flatten(1)
            sums.append(torch.stack([torch.ones_like(x).sum(dim=1), x.sum(dim=1), x.square().sum(dim=1)]))
        raise _ReachedError

    hook = norm.register_forward_pre_hook(note)
    written.begin(draw)
    for batch in written.batches(images, batch_size):
        with suppress(_ReachedError):
            model(batch)
    hook.remove()
    count, first, second = sum(sums)  # type: ignore[misc]
    mean = first / count
    return mean, (second / count - mean.square()).clamp_min(0.0) * count / (count - 1)
