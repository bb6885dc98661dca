"""Junctions that differ and junctions that are broken: populations, and the dies that are drawn from them.

spread   `spread.py` of each property · `variability.py` a population of cells at one write setting · `spread_write.py`
         the coordinates of a cell's write · `rate_surface.py` ln WER over them · `rate_distribution.py` mean, quantiles
faults   `faults.py` a process, a distribution of dies · `die.py` one die, a map of its cells · `files.py` ·
         `plots.py` figures
"""
