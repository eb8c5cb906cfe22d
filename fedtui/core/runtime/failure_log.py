"""How a failure that work goes on after is told in the log."""

from __future__ import annotations

import logging

from fedtui.core.errors import Problem


def log_failure(log: logging.Logger, what: str, error: Exception) -> None:
    """Log that `what` failed: a problem in its own words, anything else, which is a bug, with its traceback."""
    if isinstance(error, Problem):
        log.error("%s: %s %s %s", what, error.problem, error.cause, error.fix)
    else:
        log.error(what, exc_info=error)
