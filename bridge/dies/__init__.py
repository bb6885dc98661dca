"""Junctions that differ  `spread.py` by how much · `variability.py` a population of cells at one write setting · `spread_write.py` what
        of a cell matters to a write · `rate_surface.py` ln WER over that · `rate_distribution.py` means and quantiles
broken  `faults.py` a process, a distribution of dies · `die.py` one die, a map of its cells · `files.py` · `plots.py`
"""
