"""Files are written whole, by several writers at once, and what is not a file is not replaced."""

import errno
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mtjsim import files
from mtjsim.files import made_folder, write_whole


def test_the_file_is_always_whole(tmp_path):
    path, contents = tmp_path / "a", [bytes([k]) * 100_000 for k in range(8)]
    write_whole(path, contents[0])
    with ThreadPoolExecutor(4) as threads:
        written = [threads.submit(write_whole, path, content) for content in contents * 10]
        while not all(job.done() for job in written):
            assert path.read_bytes() in contents
    assert [job.result() for job in written] == [None] * 80
    assert os.listdir(tmp_path) == ["a"]


def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / ("a" * 250), tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o600)
    link.symlink_to(path)
    write_whole(link, b"new")
    assert (link.is_symlink(), path.read_bytes(), path.stat().st_mode & 0o777) == (True, b"new", 0o600)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_whole(path, b"content")
    reader.join(10)
    assert (read, path.is_fifo()) == ([b"content"], True)


def test_nothing_is_left_where_a_file_cannot_be_written(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (loop, tmp_path, tmp_path / "missing" / "a"):
        with pytest.raises(OSError, match=r"."):
            write_whole(path, b"content")
    assert os.listdir(tmp_path) == ["loop"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_new_folder_is_removed_with_its_new_parents_if_the_work_is_refused(tmp_path, error):
    (tmp_path / "own").mkdir()

    def refused(folder):
        assert folder.is_dir()
        raise error

    for folder in (tmp_path / "a" / "b" / "c", tmp_path / "own" / "c", tmp_path / "own"):
        with pytest.raises(error), made_folder(folder, option="out", parents=True):
            refused(folder)
        assert os.listdir(tmp_path) == ["own"]
        assert os.listdir(tmp_path / "own") == []


def test_a_folder_with_a_file_stays_and_so_does_one_without_an_error(tmp_path):
    def late(folder):
        (folder / "file").write_text("")
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"), made_folder(tmp_path / "a", option="out"):
        late(tmp_path / "a")
    with made_folder(tmp_path / "b", option="out"):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "file"]


def test_a_folder_that_cannot_be_made_or_written_is_an_error_and_is_not_left(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "a", tmp_path / "absent" / "a"):
        with pytest.raises(OSError, match=r"--out .* cannot be written \(.*\)\. .*ame another folder"):
            made_folder(folder, option="--out").__enter__()

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="cannot be written"):
        made_folder(tmp_path / "new", option="out").__enter__()
    assert os.listdir(tmp_path) == ["file"]


KILLED = """
import os, runpy, signal, sys

def kill(*_):
    os.kill(os.getpid(), int(sys.argv[2]))
    signal.pause()

write_whole = runpy.run_path(sys.argv[4])["write_whole"]  # the module alone: the package takes seconds
setattr(os, sys.argv[3], kill)
write_whole(sys.argv[1], bytes(100_000))
"""


@pytest.mark.parametrize(("number", "where"), [("KILL", "fsync"), ("TERM", "fsync"), ("KILL", "fchmod")])
def test_the_next_write_removes_what_a_killed_one_left(tmp_path, number, where):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    number = getattr(signal, f"SIG{number}")
    command = [sys.executable, "-c", KILLED, path, str(int(number)), where, files.__file__]
    ended = subprocess.run(command, timeout=100, check=False)
    assert ended.returncode == -number
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    write_whole(tmp_path / "b", b"new")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_the_temporary_file_of_a_writer_at_work_stays(tmp_path, monkeypatch):
    """Another write in the folder, while this one is about to be renamed."""
    fsync, seen = os.fsync, []

    def interrupted(number):
        monkeypatch.setattr(os, "fsync", fsync)
        write_whole(tmp_path / "b", b"b")
        seen.extend(os.listdir(tmp_path))
        fsync(number)

    monkeypatch.setattr(os, "fsync", interrupted)
    write_whole(tmp_path / "a", b"a")
    assert (len(seen), sorted(os.listdir(tmp_path))) == (2, ["a", "b"])
    assert (tmp_path / "a").read_bytes() == b"a"


def test_names_that_are_alike_links_and_folders_are_not_removed(tmp_path):
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / ".mtj-bnn-0000000000000000.partial").symlink_to(tmp_path / "target")
    (tmp_path / ".mtj-bnn-0000000000000001.partial").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".mtj-bnn-000000000000000.partial").write_bytes(b"a name too short")
    before = set(os.listdir(tmp_path))
    write_whole(tmp_path / "a", b"a")
    assert set(os.listdir(tmp_path)) == before | {"a"}
    assert (tmp_path / "target").read_bytes() == b"x"


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("mtjsim.files.fcntl.flock", refused)
    other = tmp_path / ".mtj-bnn-0000000000000000.partial"
    other.write_bytes(b"of a writer that may be at work")
    write_whole(tmp_path / "a", b"a")
    assert other.exists()
    assert (tmp_path / "a").read_bytes() == b"a"
