"""One experiment, declared whole: a pure function of a recipe, which contains its seed.

`recipe.py` the tables, from TOML or Python · `declared.py` tables against Python declarations · `memories.py` junction,
cells, operating points, phases · `network.py` data, network, training, optimizer · `tests.py` tests of the trained
network · `run.py` all of it, in order · `record.py` the record of any run · `code.py` digests of
the code that made it · `plots.py` · `shipped/` recipes by name
"""
