"""Documents of resources, put in one spelling: small ones in this process, large ones in a process beside it.

The parser of a large document keeps all threads of its process waiting, the event loop's and those that write among
them. The process beside runs only `document_text.py`, on the standard library alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO

from fedtui.api.bodies import InvalidBody
from fedtui.core.errors import Unusable
from fedtui.core.runtime import child_process, document_text
from fedtui.core.runtime.database import require_no_transaction
from fedtui.core.runtime.document_text import HEAD, Normalized

SMALL = 32 * 1024
"""Bytes that are parsed in this process: some milliseconds at most."""
ANSWER_SECONDS = 30
COMMAND = (sys.executable, "-I", "-S", document_text.__file__)
"""Isolated: neither the environment nor the working directory says what is imported."""


class Documents:
    """One process beside this one, started when it is first needed. Thread-safe; one document at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beside: subprocess.Popen[bytes] | None = None

    def normalize(self, content: bytes) -> tuple[float, Normalized]:
        """Seconds of processor time, and the document. Raises `InvalidBody`; `Unusable` where the process fails."""
        require_no_transaction("a document is parsed")
        try:
            if len(content) > SMALL:
                return self._beside_us(content)
            began = time.thread_time()
            document = document_text.normalize(content)
            return time.thread_time() - began, document
        except ValueError as error:
            raise InvalidBody([{"field": "body", "message": str(error)}]) from None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _beside_us(self, content: bytes) -> tuple[float, Normalized]:
        with self._lock:
            try:
                answer = self._exchange(content)
            except OSError as error:
                self._end()
                raise Unusable(
                    "The process that reads documents failed.",
                    cause=str(error),
                    fix="See the memory that is left (free -m); the next document starts the process again.",
                    code="document_process_failed",
                ) from error
        seconds, *fields = json.loads(answer)
        if len(fields) == 1:
            raise ValueError(fields[0])
        return seconds, Normalized(*fields)

    def _exchange(self, content: bytes) -> bytes:
        if self._beside is not None and self._beside.poll() is not None:
            self._end()
        if self._beside is None:
            environment = child_process.environment(os.environ, {})
            self._beside = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/"
            )
        given, answers = self._beside.stdin, self._beside.stdout
        assert given is not None and answers is not None  # noqa: S101 - both are pipes
        # A process that takes nothing in, or gives nothing back, is ended: both pipes break, and nobody waits longer.
        limit = threading.Timer(ANSWER_SECONDS, self._beside.kill)
        limit.start()
        try:
            given.write(HEAD.pack(len(content)) + content)
            given.flush()
            return _read(answers, HEAD.unpack(_read(answers, HEAD.size))[0])
        finally:
            limit.cancel()

    def _end(self) -> None:
        beside, self._beside = self._beside, None
        if beside is None:
            return
        beside.kill()
        for pipe in (beside.stdin, beside.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not flushed is for nobody
                    pipe.close()
        beside.wait()


def _read(answers: IO[bytes], wanted: int) -> bytes:
    content = answers.read(wanted)
    if len(content) < wanted:
        raise OSError(f"it ended, or did not answer within {ANSWER_SECONDS} s")
    return content
