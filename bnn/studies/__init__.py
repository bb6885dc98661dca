"""Many experiments: spaces over the fields of a recipe, energy/accuracy curves, and the demo.

`space.py` what a study is · `dimensions.py` its fields · `plans.py`, `level.py` which points come next · `point.py` one
point · `worker.py` a worker's loop · `samplers.py`, `storage.py` Optuna · `results.py` a file for each point · `run.py`
the whole of it · `status.py` · `table.py`, `crossing.py`, `figure.py`, `threshold_figure.py` what comes out ·
`task.py` an experiment that is a function · `tasks/` those of the shipped studies · `shipped/` studies by name ·
`curve.py` accuracy against energy · `demo.py` the demo · `workers.py` processes · `plots.py` figures of curves
"""
