"""Errors of single bits in the slots of a layer; errors of words are in `bnn.training`.

`kernels.py` draws by key, compiled · `keys.py` the key of each write, and addresses · `bits.py` a memory of bits ·
`write_errors.py` independent errors · `overwrite.py` cells that keep their bits · `ledger.py` counts and energies
"""

from bnn.errors.keys import address, forget_address
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors

__all__ = ["OverwriteErrors", "WriteErrors", "address", "forget_address"]
