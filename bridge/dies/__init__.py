"""Junctions that differ and junctions that are broken: populations, and the dies that are drawn from them.

they differ      `spread.py` by how much · `variability.py` a population of cells at one write setting ·
                 `spread_write.py` what of a cell matters to a write · `rate_surface.py` ln WER over that ·
                 `rate_distribution.py` means and quantiles
they are broken  `faults.py` a process, a distribution of dies · `die.py` one die, a map of its cells · `files.py` ·
                 `plots.py` to look at
"""
