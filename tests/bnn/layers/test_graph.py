import torch
from torch import nn

from bnn.layers.binary import BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.graph import UntraceableError, call_order, called_layers, traced
from networks import Branch


class Own(BinaryLinear):
    """A binary layer of another module, which is a layer all the same."""


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self.first = BinaryLinear(4, 2, seed=1), Own(4, 4, seed=2)
        self.dropout, self.calls = SeededDropout(0.5, seed=3), 0

    def forward(self, x):
        self.calls += 1
        return self.last(self.dropout(self.first(x + torch.randn(4))))


def test_binary_layers_and_seeded_dropout_are_layers_and_a_block_is_not():
    graph = traced(nn.Sequential(Block(), nn.ReLU()))  # in training mode, where the dropout would branch on values
    assert [name for name, _ in called_layers(graph)] == ["0.first", "0.dropout", "0.last", "1"]


def test_tracing_leaves_model_and_random_state_as_they_were():
    model, state = Block(), torch.get_rng_state()
    traced(model)
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_come_in_the_order_of_their_calls():
    assert call_order(traced(Block()), ["last", "first"]) == ["first", "last"]
    assert call_order(traced(Block()), ["other"]) == ["other"]


def test_a_model_that_branches_on_values_is_one_kind_of_error():
    error = traced(Branch())
    assert isinstance(error, UntraceableError)
    assert str(error).startswith("the model's forward cannot be followed (TraceError: ")
    assert call_order(error, ["b", "a"]) == ["b", "a"]
