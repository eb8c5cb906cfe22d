"""Settings: one table, four sources, each value remembering where it came from.

In rising order: built-in default, `config.toml` in the node's home, `FEDTUI_*` in the
environment, option on the command line. Settings that weaken a node are not here: they
live in its database and change only through the gate (`administration/node_settings.py`).
"""

from __future__ import annotations

import difflib
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import platformdirs

from fedtui.core.errors import Unusable, WrongUsage
from fedtui.core.runtime import durations

CONFIG_FILE = "config.toml"
DATABASE_FILE = "fedtui.db"
VAULT_KEY_FILE = "vault.key"
MASK = "(hidden)"
DECLARED_TEXT = 2048
"""Characters of a text that this node declares: a peer takes no longer ones, and no heartbeat of more than 64 KiB."""
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")


def _setting(
    default: Any,
    help_: str,
    *,
    secret: bool = False,
    least: int | None = None,
    choices: tuple[str, ...] = (),
    longest: int | None = None,
) -> Any:
    """A row of the table: default, what it is for, whether it is masked, what values it may have."""
    metadata = {"help": help_, "secret": secret, "least": least, "choices": choices, "longest": longest}
    return field(default=default, repr=not secret, metadata=metadata)


def _seconds(count: int) -> timedelta:
    return timedelta(seconds=count)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What this process was told. Durations are timedeltas, sizes are bytes."""

    home: Path
    origins: Mapping[str, str] = field(default_factory=dict)

    listen: str = _setting("127.0.0.1:8443", "where the federation API listens, HOST:PORT")
    sdwan_network: str = _setting("", "the SDWAN network whose members reach this listener: a UUID; empty: none")
    operations_listen: str = _setting("127.0.0.1:0", "where health and metrics listen; port 0 picks a free one")
    operations_hosts: str = _setting("", "names that the operations listener also answers to, separated by commas")
    database_url: str = _setting("", "PostgreSQL for several machines; empty: SQLite in the home", secret=True)
    operator: str = _setting("", "who is acting; empty: the OS user")
    worker_token: str = _setting("", "what X-Worker-Token must carry; empty: that endpoint refuses", secret=True)
    vault_key_file: str = _setting("", "the vault's key file; empty: vault.key in the home")

    heartbeat_interval: timedelta = _setting(_seconds(60), "between two heartbeats", least=1)
    stale_after: timedelta = _setting(_seconds(300), "silence after which a peer is degraded", least=2)
    manager_interval: timedelta = _setting(_seconds(60), "between two ticks of the SDWAN Manager", least=1)
    maintenance_interval: timedelta = _setting(_seconds(3600), "between two maintenance runs", least=1)
    sealing_interval: timedelta = _setting(_seconds(5), "between two looks for events to seal", least=1)
    lease_ttl: timedelta = _setting(_seconds(10), "after which a silent daemon's work is taken over", least=2)
    outbound_timeout: timedelta = _setting(_seconds(10), "for one call to a peer, all told", least=1)
    outbound_concurrency: int = _setting(128, "heartbeats under way at once", least=1)
    leaf_lifetime: timedelta = _setting(timedelta(days=90), "of the certificates this node signs", least=3600)

    jobs_off: str = _setting("", "jobs that this daemon leaves out, separated by commas; for maintenance")
    clock_offset: int = _setting(0, "seconds by which this process's clock is off; for drills, never in production")

    accepts_per_minute: int = _setting(120, "accept calls from one address", least=1)
    accepts_burst: int = _setting(120, "accept calls from one address at once", least=1)
    heartbeats_per_minute: int = _setting(30, "heartbeats from one peer", least=1)
    heartbeats_burst: int = _setting(10, "heartbeats from one peer at once", least=1)
    wrong_worker_tokens_per_minute: int = _setting(10, "from one address; further wrong ones wait", least=1)
    refused_per_minute: int = _setting(300, "refused requests for one call, from one certificate or address", least=1)
    connections_per_address: int = _setting(256, "connections from one address", least=1)
    connections: int = _setting(4096, "connections in all; half of them at most from unknown addresses", least=2)
    handshakes: int = _setting(512, "connections at once that have not finished TLS", least=1)
    body_bytes: int = _setting(1024 * 1024, "the largest document of a resource", least=1024)
    message_body_bytes: int = _setting(64 * 1024, "the largest body of a heartbeat", least=1024)
    handshake_body_bytes: int = _setting(128 * 1024, "the largest body of accept, enroll and renew", least=1024)
    processor_ms_per_minute: int = _setting(6000, "processor time for one peer or unknown address, in ms", least=100)
    bytes_per_minute: int = _setting(100_000_000, "bytes of bodies and documents of one peer or address", least=1024)

    resource_requests_per_peer: int = _setting(600, "resource calls a minute of one peer", least=1)
    resource_requests_per_grant: int = _setting(600, "resource calls a minute with one grant", least=1)
    resource_documents_per_peer: int = _setting(50_000, "documents that one peer may have written", least=1)
    resource_documents_per_grant: int = _setting(10_000, "documents that one grant may have written", least=1)
    resource_bytes_per_peer: int = _setting(1_000_000_000, "bytes of the documents of one peer", least=1024)
    resource_bytes_per_grant: int = _setting(500_000_000, "bytes of the documents of one grant", least=1024)

    platform_version: str = _setting("", "what this platform says it runs", longest=DECLARED_TEXT)
    data_residency: str = _setting("", "where this platform says its data lives", longest=DECLARED_TEXT)
    operator_contact: str = _setting("", "whom a peer's operators can reach", longest=DECLARED_TEXT)
    extension_slugs: str = _setting(
        "", "extensions this platform declares, separated by commas", longest=8 * DECLARED_TEXT
    )

    notify_command: str = _setting("", "run for each notice, with the event as JSON on its standard input; empty: none")
    notify_timeout: timedelta = _setting(_seconds(10), "for one run of the notify_command", least=1)
    notify_interval: timedelta = _setting(_seconds(5), "between two looks for what is to be told", least=1)

    log_format: str = _setting("human", "human or json", choices=("human", "json"))
    log_level: str = _setting("info", "debug, info, warning or error", choices=("debug", "info", "warning", "error"))

    @property
    def config_file(self) -> Path:
        """The home's configuration file."""
        return self.home / CONFIG_FILE

    @property
    def vault_key_path(self) -> Path:
        """Where the vault's key is read from."""
        return Path(self.vault_key_file) if self.vault_key_file else self.home / VAULT_KEY_FILE

    @property
    def resolved_database_url(self) -> str:
        """The database to use: the one given, or SQLite in the home."""
        return self.database_url or f"sqlite:///{quote(str(self.home / DATABASE_FILE))}"

    def rows(self) -> list[dict[str, str]]:
        """Each setting with value, origin and help, as `fedtui config` shows them; secrets masked."""
        return [
            {
                "key": row.name,
                "value": MASK if row.metadata["secret"] and getattr(self, row.name) else _show(getattr(self, row.name)),
                "origin": self.origins.get(row.name, "default"),
                "help": row.metadata["help"],
            }
            for row in _TABLE.values()
        ]


_TABLE = {row.name: row for row in fields(Settings) if "help" in row.metadata}


def default_home(environment: Mapping[str, str]) -> Path:
    """FEDTUI_HOME, or the platform's own place for a program's data. Raises `WrongUsage` where there is none."""
    given = environment.get("FEDTUI_HOME")
    try:
        return Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_dir("fedtui"))
    except (RuntimeError, FileNotFoundError) as error:  # no home directory; a working directory that was removed
        raise WrongUsage(
            "Where the node's home is cannot be told.",
            cause=str(error),
            fix="Say it, from the root on: FEDTUI_HOME=/DIR.",
            code="home_unknown",
        ) from error


def load(environment: Mapping[str, str], options: Mapping[str, object] | None = None) -> Settings:
    """Settle every value. `options` are the command line's, None meaning "not given".

    Raises `WrongUsage` naming the source and the key of a value that cannot be.
    """
    home = default_home(environment)
    for name, words in {**environment, "FEDTUI_HOME": str(home)}.items():
        if name.startswith("FEDTUI_"):
            require_text(name, words)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    given = {key: value for key, value in (options or {}).items() if value is not None}
    for origin, source in (
        (CONFIG_FILE, _read_config(home / CONFIG_FILE)),
        ("environment", _from_environment(environment)),
        ("option", given),
    ):
        for key, value in source.items():
            values[key] = _parse(key, value, origin)
            origins[key] = origin
    return Settings(home=home, origins=origins, **values)


def require_text(name: str, value: str) -> None:
    """Raise `WrongUsage` for what came from outside and is no text in this locale's encoding: no database keeps it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise WrongUsage(
            f"{name} is not text.",
            cause=f"It has bytes that no character of the encoding {sys.getfilesystemencoding()} is made of.",
            fix="Write it in UTF-8, in a locale that uses UTF-8 (LC_ALL=C.UTF-8).",
            code="not_text",
        ) from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    named = {f"FEDTUI_{key.upper()}": key for key in _TABLE}
    return {named[name]: value for name, value in environment.items() if name in named and value != ""}


def _read_config(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongUsage(
            f"{file} cannot be read.",
            cause=str(error),
            fix="Mend that line; the file is TOML: key = value.",
            code="config_invalid",
        ) from error
    except OSError as error:
        raise Unusable(f"{file} cannot be opened.", cause=str(error), fix=f"See who owns it: ls -l {file}") from error


def _parse(key: str, value: object, origin: str) -> object:
    row = _TABLE.get(key)
    if row is None:
        near = difflib.get_close_matches(key, _TABLE, n=1)
        raise WrongUsage(
            f"{origin}: there is no setting {key!r}.",
            cause=f"Did you mean {near[0]!r}?" if near else "It is not one of fedtui's settings.",
            fix="See them all with: fedtui config",
            code="setting_unknown",
        )
    try:
        parsed = _convert(row, value)
    except (ValueError, WrongUsage) as error:
        why = error.cause if isinstance(error, WrongUsage) else str(error)
        raise _wrong_value(key, value, origin, why) from error
    least, size = row.metadata["least"], parsed
    if least is not None:
        size = parsed.total_seconds() if isinstance(parsed, timedelta) else parsed
        if isinstance(size, int | float) and size < least:
            raise _wrong_value(key, value, origin, f"The smallest value that makes sense is {least}.")
    return parsed


def _convert(row: Field[Any], value: object) -> object:
    if isinstance(row.default, timedelta):
        return durations.parse(f"{value}s" if isinstance(value, int) else str(value), field=row.name)
    if isinstance(row.default, int):
        if not _WHOLE_NUMBER.fullmatch(str(value)):
            raise ValueError("It must be a whole number.")
        return int(str(value))
    if not isinstance(value, str):
        raise ValueError("It must be text, in quotes.")  # noqa: TRY004 - one kind of error for every wrong value
    choices = row.metadata["choices"]
    if choices and value.lower() not in choices:
        raise ValueError(f"It must be one of {', '.join(choices)}.")
    longest = row.metadata["longest"]
    if longest is not None and len(value) > longest:
        raise ValueError(f"It has {len(value)} characters, and peers take {longest} at most.")
    return value.lower() if choices else value


def _wrong_value(key: str, value: object, origin: str, why: str) -> WrongUsage:
    shown = MASK if _TABLE[key].metadata["secret"] else repr(value)
    return WrongUsage(
        f"{origin}: {key} cannot be {shown}.",
        cause=why,
        fix=f"{key} is {_TABLE[key].metadata['help']}.",
        code="setting_invalid",
    )


def _show(value: object) -> str:
    return durations.show(value) if isinstance(value, timedelta) else str(value)
