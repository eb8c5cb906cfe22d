"""Redaction and logs: what looks like a secret is not written down, and a record is one line."""

from __future__ import annotations

import io
import json
import logging
import secrets
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from fedtui.core.audit import logs
from fedtui.core.audit.events import emit, recent
from fedtui.core.audit.redaction import HIDDEN, RedactingFormatter, redact, redact_text
from fedtui.core.node import Node
from fedtui.core.peers import tokens
from fedtui.core.pki.signing import key_pem, new_key
from fedtui.core.runtime.actor import Actor

TOKEN = tokens._spell(tokens.TOKEN_PREFIX, secrets.token_bytes(32))
INVITE = tokens.write_invite(
    tokens.Invite("https://b.example", TOKEN, datetime(2026, 3, 8, tzinfo=UTC), "sha256:" + "ab" * 32)
)
KEY = new_key()
PEM = key_pem(KEY).decode()
SEC1 = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
CORES = {TOKEN: TOKEN[3:-8], INVITE: INVITE[3:-8], PEM: PEM[40:80], SEC1: SEC1[40:80]}
"""Each secret, and a piece of it that must not be left standing."""
secret_ids = pytest.mark.parametrize("secret", CORES, ids=["token", "invite", "pkcs8", "sec1"])

WRAPPINGS = {
    "bare": lambda secret: secret,
    "upper": lambda secret: secret.upper(),
    "assignment": lambda secret: f"acceptance_token={secret}&x=1",
    "snake": lambda secret: f"X_{secret}",
    "url": lambda secret: f"token%3D{secret}",
    "line": lambda secret: f"they sent\n{secret}\nand left",
    "repr": lambda secret: repr({"body": secret.encode()}),
    "json": lambda secret: json.dumps({"body": f"\n{secret}"}),
    "twice": lambda secret: f"{secret} {secret}",
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@secret_ids
def test_secrets_vanish_from_text(secret: str, wrap: Callable[[str], str]) -> None:
    """However a secret is quoted, escaped or embedded, nothing of it is left and the rest stays."""
    cleaned = redact_text(f"before {wrap(secret)} after")
    assert CORES[secret].lower() not in cleaned.lower()
    assert HIDDEN in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


def test_a_key_cut_short_vanishes_whole() -> None:
    """A private key whose end is missing takes the rest of the text with it, rather than be shown."""
    assert redact_text(f"x {PEM[:120]}") == f"x {HIDDEN}"


@given(st.text(max_size=200))
def test_ordinary_text_is_left_alone(text: str) -> None:
    """What is no secret comes through unchanged, and certificates are no secret."""
    assert redact_text(text) == text
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert redact_text(certificate) == certificate


@secret_ids
def test_nested_payloads_are_redacted(secret: str) -> None:
    """In mappings, lists and tuples at any depth, secrets vanish by their form and by the name they stand under;
    numbers and names stay."""
    payload = {
        "note": f"see {secret.strip()}",
        "list": [1, None, (secret, {"deep": [secret]})],
        "token": "anything",
        "password": "hunter2",
        "private_key_pem": "x",
        "count": 3,
        "tokens_expired": 2,
    }
    cleaned = redact(payload)
    assert CORES[secret] not in json.dumps(cleaned)
    assert cleaned["note"] == f"see {HIDDEN}"
    assert [cleaned[name] for name in ("token", "password", "private_key_pem")] == [HIDDEN] * 3
    assert (cleaned["list"][:2], cleaned["count"], cleaned["tokens_expired"]) == ([1, None], 3, 2)
    assert payload["token"] == "anything", "the original is not touched"


def test_events_are_redacted(node: Node) -> None:
    """A secret that finds its way into an event's payload is not in the record."""
    with node.unit(Actor("operator", "ada")) as unit:
        emit(unit, "system.act", source="test", said=f"token {TOKEN}", nested={"invite": INVITE})
    with node.read() as session:
        [event] = recent(session, kind="system.act")
    assert event.payload == {"said": f"token {HIDDEN}", "nested": {"invite": HIDDEN}}


# --- logs --------------------------------------------------------------------------------

FORMATS = {"human": logs.HumanFormatter, "json": logs.JsonFormatter}
formats = pytest.mark.parametrize("formatter", FORMATS.values(), ids=FORMATS)


def line(formatter: type[logging.Formatter], message: str, *args: object, error: Exception | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("fedtui.test", logging.INFO, __file__, 1, message, args, info)
    return RedactingFormatter(formatter()).format(record)


@formats
@secret_ids
def test_secrets_vanish_from_messages_and_tracebacks(formatter: type[logging.Formatter], secret: str) -> None:
    """Neither message, arguments nor traceback of a record show a secret; JSON stays JSON."""
    try:
        try:
            raise ValueError(f"bad {secret}")
        except ValueError as inner:
            raise RuntimeError(f"because of\n{secret}") from inner
    except RuntimeError as error:
        written = line(formatter, "they sent\n%s", secret, error=error)
    assert CORES[secret] not in written
    assert written.count(HIDDEN) >= 3
    assert "RuntimeError" in written
    if formatter is logs.JsonFormatter:
        assert set(json.loads(written)) == {"at", "level", "logger", "message", "traceback"}


def test_a_key_cut_short_leaves_json_whole() -> None:
    """A truncated private key in a message does not take the end of the JSON line with it."""
    entry = json.loads(line(logs.JsonFormatter, "got %s", PEM[:120]))
    assert entry["message"] == f"got {HIDDEN}"


@formats
@given(message=st.text())
def test_a_record_is_one_line(formatter: type[logging.Formatter], message: str) -> None:
    """Whatever a message holds, its record is one line without control characters: it can neither forge another
    record nor move the cursor of whoever reads the log."""
    written = line(formatter, "%s", message)
    assert len(written.splitlines()) == 1
    assert all(ord(character) >= 32 and not 127 <= ord(character) < 160 for character in written)
    if formatter is logs.JsonFormatter:
        assert json.loads(written)["message"] == redact_text(message)


def test_a_traceback_cannot_move_the_cursor() -> None:
    """A traceback follows on lines of its own, with the exception's control characters made visible."""
    written = line(logs.HumanFormatter, "failed", error=ValueError("\x1b[2J\rgone"))
    assert written.splitlines()[-1] == "ValueError: \\x1b[2J\\rgone"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("format_", FORMATS)
def test_configured_logs_go_redacted_to_stderr(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    """After `configure`, every logger of the process writes to standard error only, redacted, from its level on;
    a library that logs every request is quiet."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(format_=format_, level="info")
    logging.getLogger("fedtui.part").info("[Part] token %s", TOKEN)
    logging.getLogger("fedtui.part").debug("not this")
    logging.getLogger("httpx").info("HTTP Request: POST https://b.example")
    [written] = stream.getvalue().splitlines()
    assert f"[Part] token {HIDDEN}" in written
    if format_ == "json":
        assert json.loads(written)["level"] == "info"
    assert len(root_logger.handlers) == 1
