"""Accuracy under errors.

`accuracy.py` evaluate · `draws.py` memories of an evaluation · `on_bits.py` the same on packed bits ·
`images.py` images in batches · `logits.py` logits that are not finite · `batch_norm.py` BatchNorm at other rates
"""
