"""Trainings written down, one TOML file each with what it reached; `recipe.py` reads them, `run.py` runs them."""
