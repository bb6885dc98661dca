"""Binary layers, their quantizers and dropout, what a network holds, and how its layers are connected.

`quantizers.py` signs and their gradients · `binary.py` layers with slots for memories · `dropout.py` seeded dropout ·
`graph.py` the traced model · `table.py` bits, operations and bytes of each layer
"""

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.slots import activation_memories, memories, weight_memories

__all__ = ["BinaryConv2d", "BinaryLinear", "SeededDropout", "activation_memories", "memories", "weight_memories"]
