"""Optimizers of weights without latent values.

`bop.py` signs · `state_transitions.py` steps of any optimizer as jumps between discrete states ·
`junction_jumps.py` the same jumps by junctions under pulses · `transition_kernels.py` both, compiled
"""
