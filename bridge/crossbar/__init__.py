"""Arrays that multiply: pairs of junctions as the weights of a layer, read as differences of currents.

`array.py` conductances of the pairs of one die, and the weights that they amount to ·
`wires.py` currents if wires have a resistance
"""
