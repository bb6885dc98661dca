"""Errors of single bits in the slots of a layer; errors of words are in `bnn.training`.

the draws       `keys.py` the key of each write, and addresses · `uniforms.py` which cells fail, by key ·
                `kernels.py` writes, compiled · `transforms.py` torch.compile, torch.export, torch.func
a memory        `rates.py` error rates · `bits.py` the base class · `write_errors.py` independent errors ·
                `overwrite.py` cells that keep their bits · `ledger.py` counts and energies
"""

from bnn.errors.bits import BitMemory
from bnn.errors.keys import address, forget_address
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors

__all__ = ["BitMemory", "OverwriteErrors", "WriteErrors", "address", "forget_address"]
