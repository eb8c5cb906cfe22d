"""Keeping secrets out of what is written down.

The first line of defence is not to write them; this is the second. Our tokens and invites
have a recognisable form for this reason, and private keys carry their PEM label.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
_SECRETS = re.compile(
    r"f[ti]1[a-z2-7]{40,}"  # acceptance tokens and invites (peers/tokens.py), also behind \n or %3D
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_SECRET_KEYS = frozenset({"acceptance_token", "invite", "private_key_pem", "token", "worker_token", "password"})


def redact_text(text: str) -> str:
    """`text` with everything that looks like one of our secrets replaced."""
    return _SECRETS.sub(HIDDEN, text)


def redact(value: Any) -> Any:
    """The same structure (mappings, lists, text) without secrets, by key and by form."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if key in _SECRET_KEYS and isinstance(inner, str) else redact(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(inner) for inner in value]
    return value


class RedactingFormatter(logging.Formatter):
    """Wraps a formatter so that messages and tracebacks alike are redacted last."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact_text(self._inner.format(record))
