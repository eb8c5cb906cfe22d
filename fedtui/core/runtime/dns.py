"""Name look-ups that may never come back, which the C library's can be: in threads that nobody waits for.

A look-up cannot be cancelled. Left in a loop's own pool it would keep the process from ending, and each
further call to the same host would hang another thread. Here a host that is being looked up is not looked
up again: whoever asks meanwhile waits for the same answer, so that there are never more threads than hosts.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any


class AddressForbidden(OSError):
    """A name leads only to addresses that the rule in force does not let this node connect to."""


Forbids = Callable[[str, int, str], str]
"""Why an address to which a host resolved is not connected to; nothing where it is. Takes host, port, address."""
_rule: ContextVar[Forbids | None] = ContextVar("dial_rule", default=None)


@contextmanager
def ruled_by(forbids: Forbids | None) -> Iterator[None]:
    """Have the look-ups of connections that are made meanwhile, in this context, answer only what the rule permits."""
    token = _rule.set(forbids)
    try:
        yield
    finally:
        _rule.reset(token)


Question = tuple[Any, ...]
Answer = list[Any]
_under_way: dict[Question, Future[Answer]] = {}
_lock = threading.Lock()


class ResolverLoop(asyncio.SelectorEventLoop):
    """An event loop whose look-ups neither hold it, nor the process, nor each other up."""

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """As `socket.getaddrinfo`."""
        mine: asyncio.Future[Answer] = self.create_future()

        def take(found: Future[Answer]) -> None:
            if mine.done():
                return  # who asked has given up
            error = found.exception()
            if error is None:
                mine.set_result(found.result())
            else:
                mine.set_exception(error)

        def answered(found: Future[Answer]) -> None:
            with suppress(RuntimeError):  # this loop is closed: who asked has given up
                self.call_soon_threadsafe(take, found)

        _ask((host, port, family, type, proto, flags)).add_done_callback(answered)
        return _permitted(host, port, await mine)


def _permitted(host: Any, port: Any, found: Answer) -> Answer:
    forbids = _rule.get()
    if forbids is None or host is None:
        return found
    name = host.decode() if isinstance(host, bytes) else host
    reasons = [forbids(name, int(port or 0), str(one[4][0])) for one in found]
    kept = [one for one, reason in zip(found, reasons, strict=True) if not reason]
    if not kept:
        raise AddressForbidden(f"{name} is not connected to: {reasons[0]}.")
    return kept


def _ask(question: Question) -> Future[Answer]:
    """The look-up of this question that is under way, begun if there is none."""
    with _lock:
        future = _under_way.get(question)
        if future is None:
            future = _under_way[question] = Future()
            # A daemon thread: the end of the process does not wait for it.
            threading.Thread(target=_look_up, args=(question, future), name="name-lookup", daemon=True).start()
    return future


def _look_up(question: Question, future: Future[Answer]) -> None:
    try:
        answer = socket.getaddrinfo(*question)
    except BaseException as error:
        _forget(question)
        future.set_exception(error)
    else:
        _forget(question)
        future.set_result(answer)


def _forget(question: Question) -> None:
    with _lock:
        del _under_way[question]
