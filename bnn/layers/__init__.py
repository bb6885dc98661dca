"""Binary layers, their quantizers and dropout, what a network holds, and how its layers are connected.

`quantizers.py` signs and their gradients · `binary.py` layers with slots for memories · `dropout.py` seeded dropout ·
`graph.py` the traced model · `table.py` bits, operations and bytes of each layer
"""

from bnn.layers.binary import BinaryConv2d, BinaryLinear, activation_memories, memories, weight_memories
from bnn.layers.dropout import SeededDropout

__all__ = ["BinaryConv2d", "BinaryLinear", "SeededDropout", "activation_memories", "memories", "weight_memories"]
