"""Logs: one line a record on standard error, human or JSON, with secrets taken out."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from fedtui.core.record.redaction import RedactingFormatter


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class HumanFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z info  [Part] message`, line breaks in messages made visible."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        message = record.getMessage().replace("\n", "\\n")
        line = f"{at} {record.levelname.lower():<7} {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(*, format_: str, level: str) -> None:
    """Send every log record of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(JsonFormatter() if format_ == "json" else HumanFormatter()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("apscheduler", "httpx", "httpcore", "alembic", "asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
