"""Inference on packed bits: XNOR and popcount in place of multiply and add, with the same predictions as torch.

computation     `trace.py` a model becomes a list of steps · `folding.py` BatchNorm, ReLU, pooling and sign become an
                integer threshold · `steps.py` steps and packed bits · `products.py` products with binary weights
compiled        `kernels.py` products, packing, pooling · `bit_errors.py` write errors on packed bits
interface       `predictor.py` the packed model · `dies.py` accuracy of dies with write errors · `files.py` ·
                `structure.py` its check
"""
