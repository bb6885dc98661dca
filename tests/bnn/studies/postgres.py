"""A PostgreSQL server of a test's own, on loopback: as an unprivileged user, in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "pass-word-of-a-test"
REASON = "needs PostgreSQL and its driver: apt-get install postgresql; pip install 'mtj-bnn[cluster]'"
GUARD = '"$@" & server=$!; cat > /dev/null; kill -QUIT $server; wait'  # ends it when the tests end, however they do


def programs():
    """Return the folder of initdb and postgres, or None; Debian has them outside of PATH."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "postgres").exists()), None)


class Server:
    """A server in a folder; it can be killed and started again."""

    def __init__(self, folder):
        self.folder, self.data, self.process = folder, folder / "data", None
        self.data.mkdir(mode=0o700)
        self._as = {}
        if os.getuid() == 0:  # initdb refuses root
            import pwd

            user = pwd.getpwnam("nobody")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.data, user.pw_uid, user.pw_gid)
        words = folder / "password"
        words.write_text(PASSWORD + "\n")
        words.chmod(0o644)
        folder.chmod(0o711)
        options = ["--pgdata", self.data, "--username", "study", "--auth", "scram-sha-256", "--pwfile", words]
        command = [programs() / "initdb", *options, "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._as)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def url(self, database="postgres", password=PASSWORD):
        return f"postgresql://study:{password}@127.0.0.1:{self.port}/{database}"

    def start(self):
        options = ["-D", self.data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        options += ["-c", "unix_socket_directories=", "-c", "fsync=off"]  # kept by the kernel when it is killed
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", GUARD, "sh", programs() / "postgres", *options],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", **self._as,
            )  # fmt: skip
        end = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.1)

    def answers(self):
        import psycopg

        try:
            with psycopg.connect(self.url(), connect_timeout=5):
                return self.pid() is not None
        except psycopg.OperationalError:
            return False

    def pid(self):
        file = self.data / "postmaster.pid"
        return int(file.read_text().split()[0]) if file.exists() else None

    def kill(self):
        """End the server as a crash does, and wait for its processes."""
        os.kill(self.pid(), signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(timeout=60)
        time.sleep(1.0)  # its children see it within a second

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(timeout=60)

    def create(self, database):
        """Make an empty database; return its address."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


@contextmanager
def server():
    """A running server, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mtj-bnn-postgres-"))
    own = None
    try:
        own = Server(folder)
        own.start()
        yield own
    finally:
        if own is not None:
            own.stop()
        shutil.rmtree(folder, ignore_errors=True)
