"""One junction behind its access transistor and driver.

`transistor.py` its current · `circuit.py` driver, transistor and junction in series, at each magnetisation ·
`cell_write.py` error rates and joules of a write through that circuit · `cell.py` the whole cell, `Cell`, and its area
"""
