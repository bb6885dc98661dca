"""What of a study is finished, at work, failed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from bnn.studies.claims import is_gone, results_of, worker_of
from bnn.studies.plans import plan_of
from bnn.studies.results import Results
from bnn.studies.space import Study
from bnn.studies.storage import found_entry, opened, storage_url


def status_of(study: Study, *, out: str | os.PathLike[str], storage: str | None = None) -> dict[str, Any]:
    """Return the state of a study; nothing is run.

    Returns
    -------
    dict
        `study`, `identity`; `points` that are known, `finished`, `running`; `failed`: error -> how often.

    Raises
    ------
    ValueError
        For a folder or a storage of another study, or a storage that cannot be reached.
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(out)
    if not folder.is_dir():
        raise FileNotFoundError(f"--out {str(folder)!r} does not exist: nothing of {study.name} was run there.")
    results, url = Results(folder, study), storage_url(folder, storage)
    running, failed, trials = 0, Counter[str](), 0
    values = {key: own for key, own in results.values().items()}
    if storage is not None or (folder / "study.db").exists():
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        entry = found_entry(study, opened(url))
        for trial in entry.get_trials(deepcopy=False) if entry else ():
            running += trial.state == TrialState.RUNNING and not is_gone(worker_of(trial))
            if trial.state == TrialState.COMPLETE:
                trials += 1
                values |= {result["key"]: result["values"] for result in results_of(trial)}
            if trial.state == TrialState.FAIL and "error" in trial.user_attrs:
                failed[trial.user_attrs["error"]] += 1
    if study.sampler in ("tpe", "nsga2"):
        points, finished = study.tables["trials"], trials
    else:
        known = plan_of(study).points(values)
        points, finished = len(known), sum(study.key(point) in values for point in known)
    return {
        "study": study.name,
        "identity": study.identity,
        "points": points,
        "finished": finished,
        "running": running,
        "failed": dict(failed),
    }
