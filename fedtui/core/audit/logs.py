"""Logs: one line a record on standard error, human or JSON, with secrets taken out."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

from fedtui.core.audit.redaction import RedactingFormatter, redact
from fedtui.core.runtime import correlation

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, the correlation id of the act in progress,
    and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (act := correlation.current()) is not None:
            entry["correlation_id"] = act
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(redact(entry))  # before it is JSON: a secret cut short would take the closing brace along


class HumanFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z info  [Part] message correlation=ID`; a traceback follows on lines of its own.

    Line breaks and other control characters in messages are made visible: a remote's words
    must not pass for a record, nor move the terminal's cursor.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        act = correlation.current()
        of = f" correlation={act}" if act is not None else ""
        line = f"{at} {record.levelname.lower():<7} {_visible(record.getMessage())}{of}"
        traceback = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        return "\n".join([line, *map(_visible, traceback)])


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def configure(*, format_: str, level: str) -> None:
    """Send every log record of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(JsonFormatter() if format_ == "json" else HumanFormatter()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("apscheduler", "httpx", "httpcore", "alembic", "asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
