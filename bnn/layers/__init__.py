"""Binary layers: their quantizers, memories and dropout, and tools for whole models of them.

one layer       `quantizers.py` signs and their gradients · `binary.py` layers with slots for memories ·
                `ternary.py` discrete states, ternary layers · `crossbar.py` pairs of junctions on dies ·
                `dropout.py` seeded dropout ·
                `feature_norm.py` BatchNorm of the last dimension
a whole model   `slots.py` exchange of its memories · `latent.py` its latent weights · `graph.py` its calls, traced ·
                `table.py` bits, operations and bytes of each layer · `inputs.py` images on its device, of its type ·
                `constant_bits.py` layers whose input bits are all alike · `whole_model.py` a model, checked and copied
"""

from bnn.layers.binary import BinaryConv2d, BinaryLayer, BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.slots import activation_memories, memories, weight_memories
from bnn.layers.ternary import DiscreteActivation, DiscreteStates, TernaryConv2d, TernaryLinear

__all__ = [
    "BinaryConv2d",
    "BinaryLayer",
    "BinaryLinear",
    "DiscreteActivation",
    "DiscreteStates",
    "SeededDropout",
    "TernaryConv2d",
    "TernaryLinear",
    "activation_memories",
    "memories",
    "weight_memories",
]
