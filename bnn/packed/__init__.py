"""Inference on packed bits: XNOR and popcount in place of multiply and add, with the same predictions as torch.

what is computed `trace.py` a model becomes a list of steps · `folding.py` BatchNorm, ReLU, pooling and sign become an
                 integer threshold, where that is exact · `steps.py` what a step is · `products.py` those of bits
how              `kernels.py` products, packing, pooling · `bit_errors.py` write errors on packed bits
what is used     `predictor.py` the packed model: predict, evaluate dies · `files.py`
"""
