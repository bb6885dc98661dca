"""The tasks of the shipped studies: experiments that no recipe says, one a file, and networks of shipped recipes.

`wer_accuracy.py` write error rates against reference values · `sot_80nm.py` the fit of a preset ·
`junction_to_memory.py` one residual error rate in several ways · `factor_two.py` what wrong bits save, from ledgers ·
`error_modes.py` two kinds of errors at the same share of wrong bits · `networks.py` a network without binary layers
"""
