"""Recipes, energy/accuracy curves, and the demo.

`recipe.py`, `recipe_run.py` one training, declared and run · `recipes/` those that ship · `curve.py` accuracy against
energy · `demo.py` the demo · `record.py` the record of a run, JSON and CSV · `threads.py` of torch ·
`workers.py` processes · `plots.py` figures
"""
