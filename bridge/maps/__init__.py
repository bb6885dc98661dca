"""Maps of write error rates over direction, current or voltage, pulse width and temperature, solved or measured.

`error_map.py` solves a junction on a grid (`axes.py`), which `files.py` saves · `measured.py` a table of counts, or of
rates (`rate_table.py`), as a map · `lookup.py` interpolates a map between its nodes (`interpolation.py`), with a bound
on the error (`bound.py`) · `plots.py` figures
"""
