"""Files of a checkpoint: one training at a time, steps that all processes have, earlier versions, full disks."""

import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
import torch

from bnn.models import mlp
from bnn.training import checkpoint, processes
from bnn.training.checkpoint import load_checkpoint, locked, save_checkpoint
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from networks import blobs, same_state

TRAIN = blobs(100, 1)
CONFIG = TrainConfig(epochs=2, batch_size=25, learning_rate=0.02, seed=4, progress=False)
CPU = torch.device("cpu")
SAME = {"model": "a"}


def network():
    return mlp(16, (8,), seed=1)


# ---- one training at a time ------------------------------------------------------------------------------------------


def test_two_trainings_of_one_checkpoint_are_refused_and_the_first_goes_on(tmp_path):
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt")
    seen = []

    def begin_another(epoch):
        with pytest.raises(ValueError, match=r"run\.pt is in use by another training, which runs now\. Wait"):
            Trainer(network(), config).fit(TRAIN)
        seen.append(epoch)

    first = Trainer(network(), config).fit(TRAIN, on_epoch=begin_another)
    assert len(seen) == 2
    assert same_state(first.model, Trainer(network(), CONFIG).fit(TRAIN).model)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_lock_ends_with_an_exception_and_with_a_killed_process(tmp_path):
    def fail():
        with locked(tmp_path / "run.pt"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    code = (
        "import os, sys; from pathlib import Path; from bnn.training.checkpoint import locked\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run.pt")], check=False)
    assert done.returncode == -9
    with locked(tmp_path / "run.pt"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_a_killed_write_left_is_removed_by_the_next_training_and_other_files_stay(tmp_path):
    litter = [".mtj-bnn-0123456789abcdef.partial", ".mtj-bnn-fedcba9876543210.partial"]
    others = [".mtj-bnn-0123.partial", ".run.pt.partial", "mtj-bnn-0123456789abcdef.partial"]
    for name in (*litter, *others):
        (tmp_path / name).write_bytes(b"half")
    Trainer(network(), replace(CONFIG, checkpoint=tmp_path / "run.pt")).fit(TRAIN)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["run.pt", *others])


def test_a_checkpoint_with_the_name_of_a_following_one_is_another_training_of_one_process(tmp_path):
    for name, model, step in (("run.pt", "a", 1), ("run.next.pt", "b", 2)):
        save_checkpoint(tmp_path / name, {"model": model}, {"state": {"step": step}})
    assert load_checkpoint(tmp_path / "run.pt", [SAME], CPU) == {"state": {"step": 1}}


# ---- several processes -----------------------------------------------------------------------------------------------


class Ranks:
    """Two processes that meet in one: each is called in turn with what the other has."""

    def __init__(self, monkeypatch, folder):
        self.files = [folder / "run.pt", folder / "run.rank1.pt"]
        monkeypatch.setattr(checkpoint, "world", lambda: 2)
        monkeypatch.setattr(checkpoint, "gathered", self.gathered)
        monkeypatch.setattr(checkpoint, "all_passed", lambda passed: passed)
        self.killed = False

    def gathered(self, value):
        if self.killed:
            raise Killed
        return [value, value] if self.others is None else [value, self.others]

    def save(self, step, *, killed_at=None):
        """Save in both; `killed_at` (rank, place) leaves that one and the later ones before or after they met."""
        for rank, file in enumerate(self.files):
            not_met = killed_at is not None and killed_at[1] == "not begun"
            self.killed = not_met or (killed_at is not None and (rank, "before") >= killed_at)
            self.others = None
            if killed_at == (rank, "not begun"):
                return
            try:
                save_checkpoint(file, SAME, {"state": {"step": step}})
            except Killed:
                continue

    def steps(self):
        """Return the step at which each process goes on."""
        have = []
        for file in self.files:
            names = [file, file.with_name(f"{file.stem}.next.pt")]
            have.append(
                sorted(torch.load(n, weights_only=True)["content"]["state"]["step"] for n in names if n.exists())
            )
        self.killed, found = False, []
        for rank, file in enumerate(self.files):
            self.others = have[1 - rank]
            content = load_checkpoint(file, [SAME], CPU)
            found.append(content and content["state"]["step"])
        return found


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("killed_at", "expected"),
    [
        (None, 84),
        ((0, "before"), 84),  # both have written the next file, none has renamed it
        ((1, "before"), 84),  # the first has renamed it
        ((1, "not begun"), 80),  # the second has only the former one
    ],
)
def test_processes_that_are_killed_at_a_save_go_on_at_the_last_step_that_all_have(
    tmp_path, monkeypatch, killed_at, expected
):
    ranks = Ranks(monkeypatch, tmp_path)
    ranks.save(80)
    ranks.save(84, killed_at=killed_at)
    assert ranks.steps() == [expected, expected]
    ranks.save(88)
    assert ranks.steps() == [88, 88]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.pt", "run.rank1.pt"]


def test_processes_that_are_killed_at_their_first_save_start_over(tmp_path, monkeypatch):
    """One has written its file, the other has none, and no step is lost that both have."""
    ranks = Ranks(monkeypatch, tmp_path)
    ranks.save(4, killed_at=(1, "not begun"))
    assert [path.name for path in tmp_path.iterdir()] == ["run.next.pt"]
    assert ranks.steps() == [None, None]
    ranks.save(4)
    assert ranks.steps() == [4, 4]


def test_processes_without_a_common_step_are_refused(tmp_path, monkeypatch):
    ranks = Ranks(monkeypatch, tmp_path)
    ranks.save(80)
    ranks.files[1].unlink()
    with pytest.raises(ValueError, match=r"must have a step that all 2 processes have, got \[\[80\], \[\]\]"):
        ranks.steps()


def test_alone_nothing_is_gathered():
    assert (processes.gathered(3), processes.all_passed(False)) == ([3], False)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_an_earlier_version_is_refused_clearly(tmp_path):
    former = {"identity": {"model": "text"}, "content": {"state": {"step": 3}}}
    torch.save(former, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run\.pt is of another version of mtj-bnn.* name another file to start over"):
        Trainer(network(), replace(CONFIG, checkpoint=tmp_path / "run.pt")).fit(TRAIN)


def test_a_compressed_checkpoint_is_refused_before_it_is_unpacked(tmp_path):
    save_checkpoint(tmp_path / "own.pt", SAME, {"state": {"step": 3}})
    with zipfile.ZipFile(tmp_path / "own.pt") as own, zipfile.ZipFile(tmp_path / "run.pt", "w", 8) as other:
        for name in own.namelist():
            other.writestr(name, own.read(name))
    with pytest.raises(ValueError, match=r"run\.pt cannot be read, .*it is compressed, and torch's files are not"):
        load_checkpoint(tmp_path / "run.pt", [SAME], CPU)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path):
    """A limit of the size of files is what a full disk is to a process: the write fails half-way."""
    words = f"ulimit -f 60; {sys.executable} -m bnn run digits_mlp --out {tmp_path / 'run'}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("mtj-bnn run: error: [Errno 27] File too large")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()  # no recipe.toml of a run that did not begin
