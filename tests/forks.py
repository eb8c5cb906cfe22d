"""The program as processes of their own, without the second that its imports take: forked from one that has them done.

`Forked` is as much of `subprocess.Popen` as tests use. What is forked goes on as `python -m MODULE WORDS` does: by
`runpy`, with its own arguments, environment, standard streams, exit code and end of the interpreter. Two things are
not as from a fresh interpreter, and what is about them has to be started by `subprocess`: the seed of hashes is the
same in all of them, and in the list of processes they bear the name of their parent. Nothing that the interpreter or a
library reads when it starts may differ from the tests' own environment, else `possible` says no.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
LATE = ("FEDTUI_", "SSH_", "PYTEST_", "DOOM_FILE", "STRANGE_FILE")
"""What the program reads of its environment when it is under way (tests' own names beside its own)."""
LEFT_OUT = ("fedtui.__main__", "fedtui.app", "fedtui.screens", "fedtui.mcp", "fedtui.core.runtime.migrations")
"""Modules that few commands need; they import them for themselves."""
BESIDE = ("alembic.command", "alembic.config", "sqlalchemy.dialects.sqlite", "sqlite3")
"""What is imported late, by name."""
PREPARED = b"ready"
Stream = int | IO[Any]


class Stem:
    """The process that the others are forked from; one for each process of the tests, started when first wanted."""

    def __init__(self) -> None:
        self.environment = _early(os.environ)
        self._sending = threading.Lock()
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
                env=self.environment,
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,
            )
        said = self._channel.recv(len(PREPARED), socket.MSG_WAITALL)
        assert said == PREPARED, "the process that others are forked from did not start; it says why on standard error"

    def fork(self, request: Mapping[str, Any], streams: Sequence[int]) -> socket.socket:
        """Ask for a process; where its id will be told, and in the end its code."""
        ours, theirs = socket.socketpair()
        with theirs, self._sending:
            socket.send_fds(self._channel, [b"+"], [*streams, theirs.fileno()])
        ours.sendall(json.dumps(request).encode())
        ours.shutdown(socket.SHUT_WR)
        return ours

    def end(self) -> None:
        """Let it go; those that it forked live on."""
        self._channel.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()


_stem: list[Stem] = []


def stem() -> Stem:
    """This process's own."""
    if not _stem:
        _stem.append(Stem())
    return _stem[0]


def end() -> None:
    """Let the stem go, if there is one."""
    while _stem:
        _stem.pop().end()


def possible(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment may be forked."""
    return _early(environment) == stem().environment


class Forked:
    """A process of the program: `Forked(["serve"], env=..., stdout=subprocess.PIPE)`. Its pipes are text."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        module: str = "fedtui",
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.DEVNULL,
        start_new_session: bool = False,
    ) -> None:
        self.args = [sys.executable, "-m", module, *words]
        self.returncode: int | None = None
        self._waiting = threading.Lock()
        theirs: list[int] = []
        try:
            self.stdin = self._stream(stdin, theirs, reads=True)
            self.stdout = self._stream(stdout, theirs)
            self.stderr = self._stream(stderr, theirs)
            request = {
                "module": module,
                "words": list(words),
                "environment": dict(env),
                "folder": str(Path.cwd()),
                "session": start_new_session,
            }
            self._told = stem().fork(request, theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.pid = int(self._told.recv(8, socket.MSG_WAITALL))

    @staticmethod
    def _stream(wanted: Stream, theirs: list[int], *, reads: bool = False) -> IO[str] | None:
        """Adds the child's end to `theirs`; ours, if it is a pipe."""
        if wanted == subprocess.DEVNULL:
            theirs.append(os.open(os.devnull, os.O_RDWR))
        elif wanted == subprocess.PIPE:
            out, into = os.pipe()
            theirs.append(out if reads else into)
            return os.fdopen(into if reads else out, "w" if reads else "r")
        else:
            theirs.append(os.dup(wanted if isinstance(wanted, int) else wanted.fileno()))
        return None

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal. Raises `TimeoutExpired`."""
        if self.returncode is None and not select.select([self._told], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        with self._waiting:
            if self.returncode is None:
                self.returncode = int(self._told.recv(8, socket.MSG_WAITALL))
                self._told.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Does nothing to one that has ended. One whose code nobody has read yet keeps its id, so that no signal
        reaches another process or none."""
        with self._waiting:
            if self.returncode is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    words: Sequence[str], *, env: Mapping[str, str], module: str = "fedtui", input: str = "", timeout: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with its output captured as text."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(input.encode())
        given.seek(0)
        process = Forked(words, env=env, module=module, stdin=given, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(process.args, code, out.read().decode(), err.read().decode())


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(LATE)}


# --- the stem's own part -------------------------------------------------------------------


def grow() -> None:
    """Import what the program is made of, without starting anything that a fork would lose."""
    import fedtui

    for found in pkgutil.walk_packages(fedtui.__path__, "fedtui."):
        if not found.name.startswith(LEFT_OUT):
            importlib.import_module(found.name)
    for name in BESIDE:
        importlib.import_module(name)
    importlib.import_module("sqlalchemy.orm").configure_mappers()
    gc.collect()
    gc.freeze()  # what is there stays, and its memory shared
    assert threading.active_count() == 1
    tasks = Path("/proc/self/task")
    assert not tasks.exists() or len(list(tasks.iterdir())) == 1, "a thread that a fork would lose"


def serve(channel: socket.socket) -> str:
    """Fork whenever asked to. Returns the module to run in a child, and nothing when nobody will ask any more."""
    channel.sendall(PREPARED)
    between = 0
    while True:
        asked, descriptors, _, _ = socket.recv_fds(channel, 1, 4)
        if not asked:
            return ""
        if os.fork() == 0:
            channel.close()
            return go_between(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        between += 1
        while between and os.waitpid(-1, os.WNOHANG)[0]:
            between -= 1


def go_between(descriptors: Sequence[int]) -> str:
    """Fork the process that was asked for and tell its id and its end. Returns in that process alone: its module."""
    *streams, told = descriptors
    with socket.socket(fileno=told) as teller:
        request = json.loads(b"".join(iter(lambda: teller.recv(65536), b"")))
        pid = os.fork()
        if pid:
            for descriptor in (0, 1, *streams):
                os.close(descriptor)
            teller.sendall(f"{pid:8}".encode())
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            with contextlib.suppress(OSError):  # whoever asked has gone
                teller.sendall(f"{code:8}".encode())
                gone = select.poll()
                gone.register(teller, 0)
                gone.poll()  # until the code was read: the process's id is to mean this process for so long
            os.waitpid(pid, 0)
            os._exit(0)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["module"], *request["words"]]
    return str(request["module"])


if __name__ == "__main__":
    grow()
    with socket.socket(fileno=int(sys.argv[1])) as asking:
        module_ = serve(asking)
    if module_:
        runpy.run_module(module_, run_name="__main__", alter_sys=True)
