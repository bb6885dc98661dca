"""A binarized copy of a torch model: `convert.py`; `constant_sign.py` finds signs that would be constant."""
