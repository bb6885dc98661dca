"""Memories and signs under torch's own tools: compiled, exported, traced, mapped, copied, in mixed precision."""

import copy
import io
import pickle

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.func import functional_call, grad, jacrev, jvp, vmap

from bnn.conversion.config import BinarizeConfig
from bnn.conversion.convert import binarize
from bnn.layers.binary import BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.feature_norm import FeatureNorm
from bnn.layers.quantizers import approx_sign, ste_sign, swish_sign
from bnn.models import bireal
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from networks import blobs, normal, write_errors

X = normal(8, 16)
WRITES = {
    "none": {},
    "activations": {"activation_write": (0.1, 0.2)},
    "weights": {"weight_write": (0.1, 0.2)},
    "flipped": {"activation_write": (0.1, 0.2), "gradient": "flipped"},
    "overwrite": {"activation_write": (0.1, 0.2), "mode": "overwrite", "gradient": "masked"},
}
OF_TORCH = pytest.mark.filterwarnings("ignore")  # its compiler and exporters warn about themselves
SIGNS = (ste_sign, approx_sign, swish_sign)


def net(**config):
    torch.manual_seed(0)
    return binarize(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)), BinarizeConfig(**config))


def outcome(model, call=None):
    """The output of two calls, and the gradients of both."""
    model.zero_grad()
    outs = [(call or model)(X), (call or model)(X)]
    (outs[0].square().sum() + outs[1].sum()).backward()
    return [*outs, *(parameter.grad for parameter in model.parameters())]


def equal(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@OF_TORCH
@pytest.mark.slow  # seconds each
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("config", WRITES.values(), ids=WRITES)
def test_a_compiled_model_has_the_bits_of_a_plain_one(config, backend):
    torch.compiler.reset()
    model = net(**config)
    assert equal(outcome(model, torch.compile(model, backend=backend)), outcome(net(**config)))


@OF_TORCH
@pytest.mark.slow  # seconds each
def test_a_compiled_model_is_trained_and_evaluated_as_a_plain_one():
    torch.compiler.reset()

    def trained(wrap):
        model = nn.Sequential(nn.Flatten(), net(**WRITES["activations"]), nn.Linear(4, 10))
        config = TrainConfig(epochs=2, batch_size=20, learning_rate=0.01, seed=0)
        result = Trainer(wrap(model), config).fit(blobs(60, 1), blobs(60, 2), test=blobs(60, 3))
        accuracies = [accuracy.correct.tolist() for accuracy in result.test.values()]
        return [epoch.loss for epoch in result.history], accuracies

    assert trained(lambda model: torch.compile(model, backend="eager")) == trained(lambda model: model)


@OF_TORCH
@pytest.mark.slow  # seconds each
@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_model_has_equal_logits_and_runs_with_gradients_on(strict):
    model = net().eval()
    exported = torch.export.export(model, (X,), strict=strict)
    assert torch.equal(exported.module()(X), model(X))
    assert torch.equal(exported.run_decompositions().module()(X), model(X))
    operators = {str(node.target) for node in exported.graph.nodes}
    assert "aten.where.self" in operators
    assert not {"aten.copysign.out", "aten.signbit.default"} & operators


@OF_TORCH
@pytest.mark.slow  # seconds each
def test_a_convolutional_model_is_exported():
    model, x = bireal(seed=1, widths=(8, 16), inputs=1).eval(), normal(2, 1, 8, 8)
    assert torch.equal(torch.export.export(model, (x,)).module()(x), model(x))


@OF_TORCH
@pytest.mark.slow  # seconds each
@pytest.mark.parametrize("dynamo", [True, False])
def test_a_model_is_exported_to_onnx(dynamo, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, path = net().eval(), str(tmp_path / "net.onnx")
    torch.onnx.export(model, (X,), path, dynamo=dynamo, verbose=False)
    session = runtime.InferenceSession(path)
    (logits,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    assert torch.allclose(torch.from_numpy(logits), model(X), atol=1e-5)


@OF_TORCH  # torch.jit is deprecated, by a DeprecationWarning or a FutureWarning
def test_a_traced_model_has_equal_logits_and_both_zeros_are_plus_one():
    model = net().eval()
    assert torch.equal(torch.jit.trace(model, X)(X), model(X))
    zeros = torch.tensor([0.0, -0.0, -1e-45, 2.0, -torch.inf])
    for sign in SIGNS:
        assert torch.equal(torch.jit.trace(sign, zeros)(zeros), sign(zeros))
        assert torch.jit.trace(sign, zeros.double())(zeros.double()).dtype == torch.float64


def write(x):
    return write_errors(0.1)(seed=0)(x)


@OF_TORCH  # torch.jit is deprecated, by a DeprecationWarning or a FutureWarning
@pytest.mark.parametrize("config", list(WRITES.values())[1:], ids=list(WRITES)[1:])
def test_a_model_with_memories_is_not_traced_but_refused(config):
    with pytest.raises(RuntimeError, match=r"Errors cannot be exported or traced.* within bnn.memories\("):
        torch.jit.trace(net(**config).eval(), X)
    with pytest.raises(RuntimeError, match=r"A SeededDropout cannot be exported or traced.* Use model.eval"):
        torch.jit.trace(SeededDropout(0.5, seed=0), X)
    assert torch.jit.trace(SeededDropout(0.5, seed=0).eval(), X)(X) is not None


@OF_TORCH
@pytest.mark.slow  # seconds each
def test_a_model_with_memories_is_not_exported_unless_they_cannot_fail():
    for model in (net(**WRITES["activations"]).eval(), nn.Sequential(SeededDropout(0.5, seed=0))):
        with pytest.raises(RuntimeError, match="cannot be exported or traced"):
            torch.export.export(model, (X,))
    model = net(activation_write=(0.0, 0.0)).eval()
    assert torch.equal(torch.export.export(model, (X,)).module()(X), model(X))


@OF_TORCH  # torch.jit is deprecated, by a DeprecationWarning or a FutureWarning
def test_a_memory_that_cannot_fail_is_left_out_of_every_export():
    model = net(activation_write=(0.0, 0.0)).eval()
    assert torch.equal(torch.jit.trace(model, X)(X), model(X))


@pytest.mark.parametrize("config", WRITES.values(), ids=WRITES)
def test_a_graph_of_fx_has_outputs_gradients_and_draws_of_its_model(config):
    graph = torch.fx.symbolic_trace(net(**config))
    assert equal(outcome(graph), outcome(net(**config)))
    assert torch.equal(graph(X), graph(X)) == (not config)  # each run draws anew


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_is_one_node_with_its_gradient_in_a_graph_of_fx(sign):
    class Own(nn.Module):
        def forward(self, x):
            return 2.0 * sign(x)

    graph, x = torch.fx.symbolic_trace(Own()), torch.linspace(-2.0, 2.0, 9).requires_grad_()
    assert next(node.target for node in graph.graph.nodes if node.op == "call_function") is sign
    (found,) = torch.autograd.grad(graph(x).sum(), x)
    (expected,) = torch.autograd.grad(2.0 * sign(x).sum(), x)
    assert torch.equal(found, expected)
    assert expected.abs().sum() > 0


def test_dropout_and_norms_in_a_graph_of_fx_have_the_mode_of_the_run():
    model = nn.Sequential(SeededDropout(0.5, seed=1), FeatureNorm(16)).eval()
    graph = torch.fx.symbolic_trace(model)
    assert torch.equal(graph(X), model(X))
    dropped = torch.fx.symbolic_trace(nn.Sequential(SeededDropout(0.5, seed=1)).eval()).train()(torch.ones(8, 16))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_a_layer_with_a_forward_of_its_own_is_followed_into_by_fx():
    class Doubled(BinaryLinear):
        def forward(self, x):
            return 2.0 * super().forward(x)

    model = nn.Sequential(Doubled(16, 4, seed=0))
    assert torch.equal(torch.fx.symbolic_trace(model)(X), model(X))


@OF_TORCH  # torch.jit is deprecated, by a DeprecationWarning or a FutureWarning
@pytest.mark.parametrize("module", [net(), write_errors(0.1)(seed=0), SeededDropout(0.5, seed=0)])
def test_scripting_is_refused_in_one_sentence(module):
    with pytest.raises(RuntimeError, match=r"A \w+ cannot be scripted. Use torch.export.export, or torch.jit.trace"):
        torch.jit.script(module)


@OF_TORCH  # torch.func.jvp uses torch.jit, which is deprecated
@pytest.mark.parametrize("sign", SIGNS)
def test_signs_have_their_gradients_under_torch_func(sign):
    factors, x = normal(5, 7, seed=2), normal(5, 7, seed=1).requires_grad_()
    (sign(x) * factors).sum().backward()
    x, expected = x.detach(), x.grad
    mapped = vmap(grad(lambda z, f: (sign(z) * f).sum()))(x, factors)
    for found in (grad(lambda z: (sign(z) * factors).sum())(x), mapped, jvp(sign, (x,), (factors,))[1]):
        assert torch.allclose(found, expected, rtol=1e-6, atol=0.0)  # a product in another order: one rounding
    assert torch.equal(vmap(sign, in_dims=1, out_dims=1)(x), sign(x))
    special = torch.tensor([0.0, -0.0, 1.0, -1.0, torch.inf, -torch.inf, torch.nan])
    assert torch.equal(vmap(sign)(special).nan_to_num(7.0), sign(special).nan_to_num(7.0))
    leaf = special[:-1].clone().requires_grad_()
    sign(leaf).sum().backward()
    assert torch.allclose(grad(lambda z: sign(z).sum())(special[:-1]), leaf.grad, rtol=1e-6, atol=1e-30)


def test_an_error_free_model_works_under_torch_func():
    model = net()
    parameters = dict(model.named_parameters())

    def loss(parameters, x):
        return functional_call(model, parameters, (x,)).square().mean()

    loss(parameters, X).backward()
    gradients = grad(loss)(parameters, X)
    assert all(torch.allclose(gradients[name], p.grad, atol=1e-6) for name, p in model.named_parameters())
    each = vmap(grad(lambda p, x: loss(p, x[None])), (None, 0))(parameters, X)
    assert all(torch.allclose(each[name].mean(0), gradients[name], atol=1e-5) for name in parameters)
    assert jacrev(model)(X[0]).shape == (4, 16)


@pytest.mark.parametrize("transform", [grad(lambda x: write(ste_sign(x)).sum()), vmap(lambda x: write(ste_sign(x)))])
def test_a_memory_under_torch_func_is_refused(transform):
    with pytest.raises(RuntimeError, match=r"A WriteErrors cannot be used in transforms of torch.func .*its draws are"):
        transform(X)


def test_replicas_of_data_parallel_are_refused():
    """On several devices `nn.DataParallel` marks its copies; there are none on a machine without them."""
    replica = net(**WRITES["activations"])[1].activation_memory
    replica._is_replica = True
    with pytest.raises(RuntimeError, match=r"cannot be used in nn.DataParallel.* Use torch.distributed"):
        replica(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"model must not be an nn.DataParallel"):
        Trainer(nn.DataParallel(net()), TrainConfig(epochs=1, batch_size=2, learning_rate=0.1, seed=0)).fit(blobs(4, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("config", list(WRITES.values())[1:], ids=list(WRITES)[1:])
def test_mixed_precision_writes_the_same_bits_with_the_same_errors(config, dtype):
    found = {}
    for name, mixed in (("plain", False), ("mixed", True)):
        model, written = net(**config), []
        memory = model[1].activation_memory or model[1].weight_memory
        memory.register_forward_hook(lambda module, inputs, out, written=written: written.append((inputs[0], out)))
        with torch.autocast("cpu", dtype=dtype, enabled=mixed):
            out = model(X)
        out.float().square().sum().backward()
        found[name] = written[0][0], written[0][1], model[1].weight.grad
    (bits, read, _), (mixed_bits, mixed_read, gradient) = found.values()
    assert torch.equal(bits.float(), mixed_bits.float())
    assert torch.equal(read.float(), mixed_read.float())
    assert mixed_read.dtype == (torch.float32 if config.get("weight_write") else dtype)
    assert gradient.dtype == torch.float32
    assert gradient.isfinite().all()


@pytest.mark.parametrize("config", WRITES.values(), ids=WRITES)
def test_copies_continue_with_the_draws_of_the_original(config):
    model, file = net(**config), io.BytesIO()
    model(X)
    torch.save(model, file)
    file.seek(0)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)]
    expected = [model(X), model(X)]
    assert all(equal([copied(X), copied(X)], expected) for copied in copies)


def in_two_processes(rank, folder):
    """Two steps in DistributedDataParallel: the bits that err, and the gradients of both steps."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = []
    for name in ("activations", "weights"):
        model = nn.Sequential(net(**WRITES[name]), nn.BatchNorm1d(4))
        memory = model[0][1].activation_memory or model[0][1].weight_memory
        memory.register_forward_hook(lambda module, inputs, out: found.append(inputs[0] != out))
        parallel = nn.parallel.DistributedDataParallel(model)
        for step in range(2):
            parallel.zero_grad()
            parallel(X + step).square().sum().backward()
            found.append(model[0][1].weight.grad.clone())
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@OF_TORCH
@pytest.mark.slow
def test_in_distributed_data_parallel_activations_err_apart_and_weights_alike(tmp_path):
    """Of 128 bits at a rate of 0.1 or more, two processes have the same errors by chance with probability < 1e-10."""
    mp.spawn(in_two_processes, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert [torch.equal(a, b) for a, b in zip(first, second, strict=True)] == [False, True, False, True] + [True] * 4
