"""Published networks, with slots for the memories of their weights and activations.

Every binary layer reads BatchNorm -> sign -> [activation memory]. Each memory has its own child of the model's seed.
`arguments.py` makes the arguments of their layers.
"""

from bnn.models.alexnet import alexnet
from bnn.models.arguments import MakeMemory
from bnn.models.bireal import bireal
from bnn.models.fast_lenet4 import fast_lenet4
from bnn.models.gxnor import gxnor, gxnor_mlp
from bnn.models.lenet4 import lenet4
from bnn.models.mlp import mlp
from bnn.models.nin import nin
from bnn.models.vgg7 import vgg7

__all__ = ["MakeMemory", "alexnet", "bireal", "fast_lenet4", "gxnor", "gxnor_mlp", "lenet4", "mlp", "nin", "vgg7"]
