"""A junction from measured write counts.

In the order of a fit: `measurement.py` the counts and their CSV · `parameters.py` what may vary · `likelihood.py` how
likely the counts are · `search.py` where they are likeliest · `identifiability.py` what they leave open · `fit.py` the
road through all of these, `calibrate` · `report.py` what it found, `Calibration`.
"""
