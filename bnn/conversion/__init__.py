"""From a torch model to a binarized copy: `convert.py`, and `constant_sign.py` for signs that would never change."""
