"""Optimizers of weights without latent values: signs in `bop.py`, discrete states in `state_transitions.py`."""
