"""Which act this thread or task is working for: one id for an act and all it causes.

It goes along by context: whoever opens a unit, or writes a line to the log, need not be handed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

from fedtui.core.runtime.types import new_id

_CURRENT: ContextVar[str | None] = ContextVar("fedtui_correlation_id", default=None)


def current() -> str | None:
    """The id of the act in progress, or None between acts."""
    return _CURRENT.get()


@contextmanager
def correlated(correlation_id: str | None = None) -> Iterator[str]:
    """Work for this act, or for a new one; whatever was in progress goes on afterwards."""
    wanted = correlation_id or new_id()
    before = _CURRENT.set(wanted)
    try:
        yield wanted
    finally:
        _CURRENT.reset(before)


def join(correlation_id: str) -> None:
    """The work in progress turns out to be part of that act."""
    _CURRENT.set(correlation_id)


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, for another thread, to be run as part of the act in progress here. Once."""
    context = copy_context()
    return lambda *args: context.run(function, *args)
