"""Inverse searches: the cheapest setting, the shortest pulse, the smallest cell, the cost of each target error rate.

`inquiry.py` targets and limits, checked before any work · `reach.py` the range of an amplitude · `find.py` searches ·
`contour.py` the amplitudes over all widths, and the cheapest · `frontier.py` trade-offs · `plots.py` figures
"""
