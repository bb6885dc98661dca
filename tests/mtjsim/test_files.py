"""Files are written whole, by several writers at once, and what is not a file is not replaced."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mtjsim.files import partial_files, write_whole


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


def test_temporary_files_are_those_of_one_file(tmp_path, monkeypatch):
    """A write that is killed leaves one; here its removal fails instead."""
    monkeypatch.setattr("mtjsim.files.os.fsync", lambda number: 1 / 0)
    monkeypatch.setattr("mtjsim.files.Path.unlink", lambda *_, **__: None)
    for name in ("a", "a.b", "[a]*", "ä" * 127):  # the last one is as long as a name may be
        with pytest.raises(ZeroDivisionError):
            write_whole(tmp_path / name, b"content")
    found = {name: partial_files(tmp_path / name) for name in ("a", "a.b", "[a]*", "ä" * 127, "b")}
    assert [len(files) for files in found.values()] == [1, 1, 1, 1, 0]
    assert len({file for files in found.values() for file in files}) == 4
