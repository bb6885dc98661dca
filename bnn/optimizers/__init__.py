"""Optimizers of binary weights: `bop.py`."""
