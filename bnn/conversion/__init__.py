"""A binarized copy of a torch model.

`convert.py` the copy · `config.py` quantizers and memories of a layer · `selection.py` which layers ·
`constant_sign.py` signs that would be constant, from the graph · `example_bits.py` the same, from images
"""
