"""Accuracy under errors.

`draws.py` memories of an evaluation · `accuracy.py` counts and intervals · `batch_norm.py` BatchNorm at other rates
"""
