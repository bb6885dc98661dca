import csv
import io

import pytest
import torch
from torch import nn

import bnn
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.table import Summary, summary
from bnn.models import alexnet, bireal, lenet4, mlp, nin, vgg7


def rows_of(table):
    return {row.name: row for row in table.rows}


def test_lenet4_by_hand():
    table = summary(lenet4(seed=1), input_shape=(1, 28, 28), batch_size=64)
    rows, total = rows_of(table), table.totals
    assert [(name, row.activation_bits) for name, row in rows.items() if row.activation_bits] == [
        ("5", 2880),
        ("10", 800),
    ]
    assert total.error_prone_bits_inference == 2880 + 800
    assert total.error_prone_bits_training_step == 64 * 3680 + 25 * 20 * 50 + 800 * 500
    assert total.weight_bits == 25 * 20 * 50 + 800 * 500
    assert rows["5"].output_shape == (50, 8, 8)
    assert rows["5"].binary_macs == 50 * 64 * 500
    assert rows["0"].float_macs == 20 * 24 * 24 * 25
    assert total.binary_macs == 50 * 64 * 500 + 800 * 500
    assert total.float_macs == 20 * 24 * 24 * 25 + 5000
    norms = 4 * (20 + 20 + 50)
    assert total.floats == 520 + norms + 2 * 50 + 2 * 500 + 5010
    assert total.packed_bytes == 425_000 // 8 + 4 * total.floats


@pytest.mark.parametrize(
    ("build", "shape", "bits"),
    [
        (nin, (3, 32, 32), 507_904),  # as published, see the model
        (alexnet, (3, 224, 224), 96 * 27**2 + 256 * 13**2 + 2 * 384 * 13**2 + 9216 + 4096),
        (alexnet, (3, 227, 227), 256_352),
        (vgg7, (3, 32, 32), 128 * 32**2 + (128 + 256) * 16**2 + (256 + 512) * 8**2 + 8192 + 1024),
        (bireal, (3, 32, 32), (64 + 64 + 64) * 32**2 + 128 * 16**2 + 128 * 16**2 + 256 * 8**2),
        (mlp, (1, 8, 8), 512),
    ],
)
def test_error_prone_bits_of_the_models(build, shape, bits):
    assert summary(build(seed=1), input_shape=shape).totals.error_prone_bits_inference == bits


def test_what_is_counted_is_what_a_memory_is_written():
    written = {}

    class Counter(nn.Module):
        def __init__(self, role):
            super().__init__()
            self.role = role

        def forward(self, x):
            written[self.role] = written.get(self.role, 0) + x.numel()
            return x

    def make(role):
        return lambda seed: Counter(role)

    model = bireal(
        seed=1, widths=(8, 16), inputs=1, last="binary", activation_memory=make("a"), weight_memory=make("w")
    )
    table = summary(model, input_shape=(1, 8, 8), batch_size=5)
    assert not written  # the memories were taken out
    model(torch.ones(5, 1, 8, 8))
    assert written["a"] == 5 * table.totals.error_prone_bits_inference
    assert written["a"] + written["w"] == table.totals.error_prone_bits_training_step


def test_binary_and_float_operations():
    model = nn.Sequential(
        BinaryConv2d(4, 8, (3, 1), seed=1, groups=2, input_quantizer=None),
        BinaryConv2d(8, 8, 1, seed=1, weight_quantizer=None),
        BinaryConv2d(8, 4, 1, seed=1, stride=2),
        nn.Conv2d(4, 2, 1, bias=False),
        nn.Flatten(),
        nn.Linear(2 * 2 * 3, 7),
    )
    rows = rows_of(summary(model, input_shape=(4, 6, 5)))
    assert rows["0"].output_shape == (8, 4, 5)
    macs = {"0": (0, 8 * 20 * 6), "1": (0, 8 * 20 * 8), "2": (4 * 6 * 8, 0), "3": (0, 2 * 6 * 4), "5": (0, 12 * 7)}
    assert {name: (rows[name].binary_macs, rows[name].float_macs) for name in macs} == macs
    assert (rows["0"].activation_bits, rows["1"].activation_bits, rows["2"].activation_bits) == (0, 160, 160)
    assert (rows["0"].weight_bits, rows["0"].floats, rows["1"].weight_bits, rows["1"].floats) == (48, 0, 0, 64)
    assert rows["0"].packed_bytes == 6


def test_calls_add_up_and_weights_count_once():
    layer, other = BinaryLinear(6, 6, seed=1), BinaryLinear(6, 6, seed=2)
    other.weight = layer.weight
    table = summary(nn.Sequential(layer, layer, other), input_shape=(6,))
    assert [row.name for row in table.rows] == ["0", "2"]
    assert (table.totals.weight_bits, table.totals.activation_bits, table.totals.binary_macs) == (36, 18, 108)


def test_the_model_is_left_as_it_was():
    model = mlp(seed=1, activation_memory=lambda seed: WriteErrors(error_rate_0=0.5, error_rate_1=0.5, seed=seed))
    model[2].eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes, memory = [module.training for module in model.modules()], model[3].activation_memory
    summary(model, input_shape=(64,))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert model[3].activation_memory is memory
    assert not any(module._forward_hooks for module in model.modules())


def test_it_prints_and_exports_the_same_numbers():
    table = bnn.summary(lenet4(seed=1), input_shape=(1, 28, 28))
    assert isinstance(table, Summary)
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert rows[5]["output_shape"] == "50x8x8"
    assert [int(row["weight_bits"]) for row in rows] == [row["weight_bits"] for row in table.as_dicts()]
    assert rows[-1]["name"] == "total"
    assert table.as_dicts()[-1]["error_prone_bits_inference"] == 3680
    printed = str(table).splitlines()
    assert len(printed) == 2 + 1 + len(table.rows) + 1 + 1 + 1
    assert printed[-2].split()[1:] == ["10", "425000", "6990", "3680", "428680", "2000000", "293000", "81085"]


@pytest.mark.parametrize(
    "wrong", [{"input_shape": (1, 0)}, {"input_shape": (2.0,)}, {"input_shape": (4,), "batch_size": 0}]
)
def test_wrong_shapes_are_refused(wrong):
    with pytest.raises(ValueError, match="must be a whole number >= 1, got"):
        summary(nn.Linear(4, 2), **wrong)


def test_a_shape_that_does_not_fit_is_said_and_the_model_is_as_it_was():
    model = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"input_shape must fit the model, got \(5,\): .*mat1 and mat2"):
        summary(model, input_shape=(5,))
    assert model.training
    assert not model[0]._forward_hooks
    assert summary(model, input_shape=4) == summary(model, input_shape=(4,))


def binarized_linears(**config):
    model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9), nn.Linear(9, 9))
    return bnn.binarize(model, bnn.BinarizeConfig(**config))


class RPReLU(nn.Module):
    """ReActNet's activation: parameters of its own, and a layer with more."""

    def __init__(self):
        super().__init__()
        self.shift, self.gain = nn.Parameter(torch.zeros(1, 8, 1, 1)), nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.prelu = nn.PReLU(8)

    def forward(self, x):
        return self.prelu(x - self.shift) + self.gain


class Attention(nn.Module):
    """Products of matrices outside of layers, a fused layer, a layer that is not called, a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.q, self.unused, self.own = nn.Linear(16, 16), nn.Linear(3, 4), nn.Parameter(torch.zeros(7))
        self.heads = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        q = self.q(x)
        return torch.softmax(q @ q.transpose(1, 2), -1) @ q + self.heads(q, q, q)[0]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (bnn.binarize(nn.Sequential(nn.Conv2d(1, 8, 3), RPReLU(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1))), (1, 8, 8)),
        (binarized_linears(input_quantizer=nn.PReLU(9)), 9),
        (Attention(), (4, 16)),
        (nn.LSTM(4, 4), (3, 4)),
        (nn.Sequential(RPReLU()), (8, 2, 2)),
    ],
    ids=["activation", "quantizer", "attention", "recurrent", "alone"],
)
def test_every_parameter_is_in_the_totals(model, shape):
    totals = summary(model, input_shape=shape).totals
    assert totals.weight_bits + totals.floats == sum(parameter.numel() for parameter in model.parameters())


def test_convolutions_of_every_kind_are_counted():
    """Of a transposed convolution each input, of the others each output is multiplied by one filter."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.ConvTranspose2d(8, 8, 2))
    assert rows_of(summary(model, input_shape=(1, 8, 8)))["2"].float_macs == 8 * 8 * 4 * 16
    model = nn.Sequential(nn.Conv1d(2, 4, 3, groups=2, stride=2), nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2))
    rows = rows_of(summary(model, input_shape=(2, 16)))
    assert (rows["0"].float_macs, rows["1"].float_macs) == (4 * 7 * 3, 4 * 7 * 3 * 3)
    rows = rows_of(summary(nn.Sequential(nn.Conv3d(2, 4, 3), nn.ConvTranspose3d(4, 2, 2)), input_shape=(2, 6, 6, 6)))
    assert (rows["0"].float_macs, rows["1"].float_macs) == (4 * 64 * 2 * 27, 4 * 64 * 2 * 8)


def test_operations_outside_of_layers_are_named_below_the_table():
    table = summary(Attention(), input_shape=(4, 16))
    inside, projections, products = 4 * 16 * 16, 4 * 4 * 16 * 16, 2 * 2 * 4 * 4 * 16
    assert (table.totals.float_macs, table.other_macs) == (inside, projections + products)
    last = f"Not in the table: {table.other_macs} float MACs of other matrix products (attention, recurrent layers)."
    assert str(table).splitlines()[-1] == last
    assert summary(nn.LSTM(4, 4), input_shape=(3, 4)).other_macs == 3 * 2 * 4 * 16
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled


def test_cells_of_memories_are_no_parameters():
    """`OverwriteErrors` keeps the cells of a written layer in a buffer."""
    model = binarized_linears(weight_write=(0.1, 0.1), activation_write=(0.1, 0.1), mode="overwrite")
    before = summary(model, input_shape=9)
    model(torch.ones(2, 9))
    assert summary(model, input_shape=9) == before
