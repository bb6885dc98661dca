from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bnn.models
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.latent import clip_latent_
from bnn.layers.quantizers import approx_sign, ste_sign
from bnn.layers.slots import activation_memories, weight_memories
from bnn.models import alexnet, bireal, lenet4, mlp, nin, vgg7
from networks import normal, write_errors

NO_ERRORS = write_errors(0.0)
ERRORS = write_errors(0.1, 0.2)
MODELS = {  # small ones of each kind, and the shape of an image
    "mlp": (partial(mlp, hidden=(32, 16)), (1, 8, 8)),
    "mlp, real last": (partial(mlp, hidden=(32, 16), last="real"), (1, 8, 8)),
    "lenet4": (lenet4, (1, 28, 28)),
    "lenet4, centered": (partial(lenet4, center=True), (1, 28, 28)),
    "nin": (nin, (3, 32, 32)),
    "vgg7": (partial(vgg7, width=8), (3, 32, 32)),
    "vgg7, binary ends": (partial(vgg7, width=8, first="binary", last="binary"), (3, 32, 32)),
    "bireal": (partial(bireal, widths=(8, 16), inputs=1), (1, 12, 12)),
    "bireal, binary last": (partial(bireal, widths=(8, 16, 16), blocks=1, last="binary"), (3, 16, 16)),
    "bireal, quarter stem": (partial(bireal, widths=(8, 16), stem="quarter", pool="max"), (3, 32, 32)),
    "bireal, binary ends": (
        partial(bireal, widths=(8,), stem="quarter", pool="max", first="binary", last="binary"),
        (3, 16, 16),
    ),
}
LAYER_SEEDS = [
    4101012935539140643,
    12665532005993393728,
    8519537811700431726,
    4363693274566336027,
]  # of lenet4(seed=7)
every_model = pytest.mark.parametrize(("build", "shape"), MODELS.values(), ids=MODELS)


def kernels(model):
    layers = [m for m in model.modules() if isinstance(m, (BinaryConv2d, BinaryLinear))]
    return [(tuple(m.weight.shape), m.input_quantizer is not None, m.weight_quantizer is not None) for m in layers]


@every_model
def test_no_errors_are_a_clean_network_to_the_bit_forward_and_in_training(build, shape):
    x, y = normal(4, *shape), torch.arange(4)
    states = []
    for memory in (None, NO_ERRORS):
        model = build(seed=1, activation_memory=memory, weight_memory=memory)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            clip_latent_(model)
        states.append([model(x), *model.parameters(), *model.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


@every_model
def test_memories_sit_in_every_slot_each_with_a_stream_of_its_own(build, shape):
    model = build(seed=1, activation_memory=ERRORS, weight_memory=ERRORS)
    slots = {"activation_memory": activation_memories(model), "weight_memory": weight_memories(model)}
    memories = [layer._modules[slot] for slot, layers in slots.items() for layer in layers.values()]
    assert all(isinstance(memory, WriteErrors) for memory in memories)
    assert len({memory.seed for memory in memories}) == len(memories) >= 3
    assert model(normal(2, *shape)).shape == (2, 10)


@every_model
def test_every_parameter_has_a_gradient(build, shape):
    model = build(seed=1)
    F.cross_entropy(model(normal(8, *shape)), torch.arange(8)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert all(layer.weight.grad.any() for layer in weight_memories(model).values())


@every_model
def test_weights_come_from_the_seed_alone_and_memories_do_not_change_them(build, shape):
    state = torch.get_rng_state()
    first, again, other = build(seed=2), build(seed=2, activation_memory=ERRORS, weight_memory=ERRORS), build(seed=3)
    first(normal(2, *shape))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [[p for p in model.parameters() if p.dim() > 1] for model in (first, again, other)]
    assert all(torch.equal(p, q) for p, q in zip(*weights[:2], strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(weights[0], weights[2], strict=True))


def test_seeds_of_layers_and_memories_are_those_of_version_0_5():
    """Kept results depend on them: a network of a seed stays that network. They moved once, in 0.5.0."""
    model = lenet4(seed=7, activation_memory=ERRORS)
    assert [m.activation_memory.seed for m in (model[5], model[10])] == [16654066233342461199, 350726152123971885]
    assert [m.seed for m in model if isinstance(m, (BinaryConv2d, BinaryLinear))] == LAYER_SEEDS
    one = mlp(seed=5, last="real", hidden=(32,), activation_memory=ERRORS)
    assert one[3].activation_memory.seed == 16721418382472507188


def test_nin_is_the_papers():
    inner = [(192, 160, 1), (160, 96, 1), (96, 192, 5), (192, 192, 1), (192, 192, 1), (192, 192, 3), (192, 192, 1)]
    expected = [((o, i, k, k), True, True) for i, o, k in inner]
    assert kernels(nin(seed=1)) == [((192, 3, 5, 5), False, False), *expected, ((10, 192, 1, 1), False, False)]
    dropping = [m.weight.shape[2] for m in nin(seed=1) if isinstance(m, BinaryConv2d) and m.dropout is not None]
    assert dropping == [5, 3]
    assert not any(isinstance(m, SeededDropout) for m in nin(seed=1, dropout=0.0).modules())
    pools = [type(m).__name__ for m in nin(seed=1) if isinstance(m, (nn.MaxPool2d, nn.AvgPool2d))]
    assert pools == ["MaxPool2d", "AvgPool2d", "AvgPool2d"]


def test_alexnet_is_the_papers():
    inner = [(256, 96, 5, 5), (384, 256, 3, 3), (384, 384, 3, 3), (256, 384, 3, 3), (4096, 9216), (4096, 4096)]
    model = alexnet(seed=1, classes=20).eval()
    assert kernels(model) == [
        ((96, 3, 11, 11), False, False),
        *((shape, True, True) for shape in inner),
        ((20, 4096), False, False),
    ]
    with torch.no_grad():
        assert model(normal(1, 3, 224, 224)).shape == model(normal(1, 3, 227, 227)).shape == (1, 20)


@pytest.mark.parametrize(("first", "last"), [("real", "real"), ("binary", "binary")])
def test_vgg7_is_the_papers_and_its_ends_are_a_choice(first, last):
    channels = (3, 128, 128, 256, 256, 512, 512)
    expected = [((o, i, 3, 3), k > 0, k > 0 or first == "binary") for k, (i, o) in enumerate(pairwise(channels))]
    expected += [((1024, 8192), True, True), ((10, 1024), True, last == "binary")]
    assert kernels(vgg7(seed=1, first=first, last=last)) == expected


def test_a_bireal_block_is_its_formula():
    model = bireal(seed=1, widths=(8, 16), inputs=1).eval()
    x = normal(2, 8, 6, 6)
    same, halved = model[2], model[4]
    product = F.conv2d(ste_sign(x), ste_sign(same.convolution.weight), padding=1)
    assert torch.equal(same(x), x + same.norm(product))
    assert same.convolution.input_quantizer is approx_sign
    product = halved.norm(F.conv2d(ste_sign(x), ste_sign(halved.convolution.weight), padding=1, stride=2))
    pooled = F.conv2d(F.avg_pool2d(x, 2), halved.shortcut[1].weight)
    torch.testing.assert_close(halved(x), halved.shortcut[2](pooled) + product)


def test_a_quarter_stem_writes_a_quarter_of_the_side_and_max_pools_are_everywhere():
    written = []

    class Counting(nn.Module):
        def forward(self, x):
            written.append(tuple(x.shape[1:]))
            assert set(x.unique().tolist()) == {-1.0, 1.0}
            return x

    model = bireal(5, seed=1, widths=(8, 16, 24), stem="quarter", pool="max", activation_memory=lambda seed: Counting())
    assert model(normal(4, 3, 32, 32)).shape == (4, 5)
    assert written == [(8, 8, 8), (8, 8, 8), (8, 8, 8), (16, 4, 4), (16, 4, 4), (24, 2, 2)]
    assert kernels(model)[0] == ((8, 3, 5, 5), False, False)
    assert not any(isinstance(m, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)) for m in model.modules())
    x, block = normal(2, 8, 4, 4), model.eval()[5]
    product = F.conv2d(ste_sign(x), ste_sign(block.convolution.weight), padding=1, stride=2)
    pooled = block.shortcut[2](F.conv2d(F.max_pool2d(x, 2), block.shortcut[1].weight))
    torch.testing.assert_close(block(x), pooled + block.norm(product))


def test_dropout_is_drawn_by_sample_and_resumes():
    models = [nin(seed=1) for _ in range(2)]
    x, y = normal(4, 3, 32, 32), torch.arange(4)
    for _ in range(2):
        F.cross_entropy(models[0](x), y).backward()
    models[1].load_state_dict(models[0].state_dict())
    assert torch.equal(models[0](x), models[1](x))
    assert not torch.equal(models[0](x), models[0](x))


def test_wrong_arguments_are_refused():
    for build in (vgg7, bireal):
        with pytest.raises(ValueError, match="last must be one of 'real', 'binary'"):
            build(seed=1, last="ternary")
        with pytest.raises(ValueError, match="seed"):
            build(seed=-1)
        with pytest.raises(ValueError, match="first must be one of 'real', 'binary'"):
            build(seed=1, first="ternary")
    with pytest.raises(ValueError, match="stem must be one of 'full', 'quarter', got 'half'"):
        bireal(seed=1, stem="half")
    with pytest.raises(ValueError, match="pool must be one of 'average', 'max', got 'mean'"):
        bireal(seed=1, pool="mean")
    with pytest.raises(ValueError, match="widths must name at least one stage"):
        bireal(seed=1, widths=())
    with pytest.raises(ValueError, match="blocks must be a whole number >= 1"):
        bireal(seed=1, blocks=0)


def test_all_are_at_the_front_door():
    known = {"MakeMemory", "alexnet", "bireal", "fast_lenet4", "gxnor", "gxnor_mlp", "lenet4", "mlp", "nin", "vgg7"}
    assert set(bnn.models.__all__) == known
    assert all(callable(getattr(bnn.models, name)) for name in bnn.models.__all__)
