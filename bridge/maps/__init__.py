"""Write error rates over direction, current or voltage, pulse width and temperature: solved or measured, kept, asked.

`error_map.py` solves a junction on a grid (`axes.py`) and keeps it (`files.py`) · `measured.py` a table of counts as a
map · `lookup.py` a map asked between its nodes (`interpolation.py`), with a bound on the error (`bound.py`) ·
`plots.py` to look at
"""
