"""Migrations and the home: one schema however many start at once, and what a node refuses to open."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError

from fedtui.core.administration import operators
from fedtui.core.bootstrap import init_node, open_node, upgrade
from fedtui.core.errors import Refused, Unusable, WrongUsage
from fedtui.core.grants.grants import Grant
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import certificates, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.runtime import daemons, migrate, settings
from fedtui.core.runtime.database import Base, Database
from fedtui.core.runtime.settings import Settings
from tests.conftest import Databases

Fresh = Callable[[], Database]
INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}


@pytest.fixture
def fresh(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    """Gives databases with nothing in them."""
    made: list[Database] = []

    def make() -> Database:
        made.append(Database(databases.empty(tmp_path_factory.mktemp("fresh"))))
        return made[-1]

    yield make
    for database in made:
        database.close()


def asked(home: Path, **options: object) -> Settings:
    return settings.load({"FEDTUI_HOME": str(home), "FEDTUI_OPERATOR": "ada"}, options)


def init(home: Path, **options: object) -> Node:
    return init_node(asked(home, **options), name="alpha", url="https://alpha.example")


def refused(home: Path, **options: object) -> str:
    with pytest.raises(Unusable) as raised:
        open_node(asked(home, **options)).close()
    assert raised.value.problem
    assert raised.value.fix
    return raised.value.code


# --- migrations --------------------------------------------------------------------------


def test_documents_of_before_become_text_and_json(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored keeps its value through the migration; a number that was none becomes null."""
    database = fresh()
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "HEAD", "0019")
        migrate.upgrade(database)
    documents = {"object": '{"a": [1, "b"]}', "bare": "1.5", "text": '"Infinity"'}
    if database.engine.dialect.name == "sqlite":
        documents |= {"none": '{"a":Infinity,"b":"NaN"}'}
    with database.engine.begin() as connection:
        for id, document in documents.items():
            given = {"id": id, "document": document, "at": "2030-01-01 00:00:00"}
            insert = (
                "INSERT INTO resources (kind, id, document, version, updated_at, updated_by, digest, size) "
                "VALUES ('doc', :id, CAST(:document AS {}), 1, :at, 'operator:ada', 'x', 0)"
            )
            column = "TEXT" if database.engine.dialect.name == "sqlite" else "JSONB"
            connection.execute(text(insert.format(column)), given)
    migrate.upgrade(database)
    with database.reading() as session:
        kept = dict(session.execute(text("SELECT id, document FROM resources")).all())
    expected = {id: json.loads(document.replace("Infinity,", "null,")) for id, document in documents.items()}
    assert {id: json.loads(document) for id, document in kept.items()} == expected


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # compared in the next test
def test_models_and_migrations_agree(fresh: Fresh) -> None:
    """An upgraded database has exactly the tables, columns, types, nullability and indexes of the models."""
    database = fresh()
    assert migrate.upgrade(database) is True
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        found = compare_metadata(context, Base.metadata)
    # Indexes on expressions look different when they are read back from PostgreSQL: the next test compares them.
    assert [one for one in found if database.file is not None or "index" not in str(one[0])] == []


def test_a_grant_of_the_first_schema_lives_on(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of revision 0001 with a managed child's grant in it comes to the present one with the row whole."""
    database = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0001")
        migrate.upgrade(database)
    issued, expires = "2026-03-01 12:00:00.000000", "2027-03-01 12:00:00.000000"
    with database.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO grants VALUES ('g-1', 'p-1', 'parent-operator@p-1', 'managed_child_operator', NULL,"
                """ '["read", "write", "admin"]', '[]', '[]', '[]', :issued, :expires, NULL)"""
            ),
            {"issued": issued, "expires": expires},
        )
    assert migrate.upgrade(database) is True
    with database.reading() as session:
        grant = session.get_one(Grant, "g-1")
        assert (grant.remote_subject, grant.permission_scopes) == ("parent-operator@p-1", ["read", "write", "admin"])
        assert grant.expires_at - grant.issued_at == timedelta(seconds=grant.ttl_seconds) == timedelta(days=365)
        assert (grant.renew_at, grant.archived_at, grant.issued_by) == (None, None, None)
    with database.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(text("INSERT INTO grants SELECT * FROM grants"))


def test_terms_of_before_are_enforced_a_month_after_the_upgrade(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passed or to come, a term of before ends nothing within thirty days; a peer without one has none."""
    database = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0017")
        migrate.upgrade(database)
    columns = (
        "id, remote_instance_url, node_instance_id, peer_kind, status, endpoints, confirmed_endpoints, public_ca, "
        "resolves_anywhere, capabilities, extension_slugs, sync_cursor, drill_mode, enroll_owed, metadata, created_at, "
        "updated_at, expires_at"
    )
    values = (
        ":id, :url, :id, 'platform', 'proposed', '[]', '[]', false, false, '{}', '[]', '{}', false, "
        "false, '{}', :past, :past, :expires"
    )
    past, long = "2020-01-01 00:00:00.000000", "2099-01-01 00:00:00.000000"
    with database.engine.begin() as connection:
        for id, expires in (("1", past), ("2", long), ("3", None)):
            connection.execute(
                text(f"INSERT INTO peers ({columns}) VALUES ({values})"),  # noqa: S608 - of constants
                {"id": id, "url": f"https://{id}", "expires": expires, "past": past},
            )
    began = datetime.now(UTC)
    migrate.upgrade(database)
    with database.reading() as session:
        ends = [
            peers.term_end(row.expires_at, row.term_grace_until)
            for row in (session.get_one(peers.Peer, id) for id in "123")
        ]
    assert ends[0] is not None
    assert timedelta(days=30) <= ends[0] - began < timedelta(days=30, minutes=10)
    assert ends[1:] == [datetime(2099, 1, 1, tzinfo=UTC), None]


def test_certificates_of_an_older_schema_live_on(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was replaced is over, what a peer signed is due at 75 % of its lifetime, the rest is as it was."""
    database = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0003")
        migrate.upgrade(database)
    start, end = "2026-01-01 00:00:00.000000", "2026-04-11 00:00:00.000000"
    with database.writing() as session:
        peer = "federation_peer"
        for id, kind, direction in (
            ("1", "server", "own"),
            ("2", "server", "own"),
            ("3", peer, "outbound"),
            ("4", peer, "outbound"),
            ("5", peer, "inbound"),
        ):
            session.execute(
                text(
                    "INSERT INTO certificates (id, serial, subject, subject_kind, direction, fingerprint, "
                    "issuer_fingerprint, cert_pem, chain_pem, not_before, not_after, created_at) "
                    "VALUES (:id, :id, 's', :kind, :direction, :id, 'x', '', '', :start, :end, :start)"
                ),
                {"id": id, "kind": kind, "direction": direction, "start": start, "end": end},
            )
        for id, state, certificate in (("a", "retired", "3"), ("b", "current", "4")):
            session.execute(
                text(
                    "INSERT INTO credentials "
                    "(id, peer_id, state, csr_pem, key_fingerprint, certificate_id, created_at) "
                    "VALUES (:id, 'p', :state, '', '', :certificate, :start)"
                ),
                {"id": id, "state": state, "certificate": certificate, "start": start},
            )
    assert migrate.upgrade(database)
    with database.reading() as session:
        rows = {row.id: row for row in session.scalars(select(Certificate))}
        tried = {row.id: row.attempts for row in session.scalars(select(Credential))}
    database.close()
    assert [id for id, row in sorted(rows.items()) if row.over] == ["1", "3"]
    due = datetime(2026, 3, 17, tzinfo=UTC)
    assert [rows[id].renew_at for id in "345"] == [due, due, None]
    assert tried == {"a": 0, "b": 0}


def test_keys_checks_and_partial_indexes_agree(fresh: Fresh) -> None:
    """What autogenerate does not compare agrees too: primary keys, check constraints, conditions of indexes."""
    migrated, modelled = fresh(), fresh()
    migrate.upgrade(migrated)
    with modelled.engine.begin() as connection:
        Base.metadata.create_all(connection)

    def facts(database: Database) -> dict[str, object]:
        looked = inspect(database.engine)
        found: dict[str, object] = {}
        for table in Base.metadata.tables:
            found[table] = sorted((one["name"] or "", one["sqltext"]) for one in looked.get_check_constraints(table))
            found[f"{table} key"] = looked.get_pk_constraint(table)["constrained_columns"]
        with database.reading() as session:
            indexes = session.execute(text(INDEXES[database.url.get_backend_name()]))
            return found | {name: " ".join(sql.split()) for name, sql in indexes if "alembic" not in name}

    assert "ix_peers_active_heartbeat" in facts(modelled)
    assert facts(migrated) == facts(modelled)


@pytest.mark.sqlite
def test_upgrade_twice_does_nothing(fresh: Fresh) -> None:
    """The second upgrade reports that there was nothing to do and changes no byte."""
    database = fresh()
    assert migrate.upgrade(database) is True
    database.close()
    assert database.file is not None
    before = database.file.read_bytes()
    assert migrate.upgrade(database) is False
    migrate.require_current(database)
    database.close()
    assert database.file.read_bytes() == before


def upgrade_at(barrier: Any, url: str, outcomes: Any) -> None:
    """What each process of the next test does."""
    barrier.wait(60)
    try:
        outcomes.put(migrate.upgrade(Database(url)))
    except BaseException as error:
        outcomes.put(repr(error))


def test_eight_processes_upgrade_at_once(fresh: Fresh) -> None:
    """Eight processes on one fresh database all succeed, exactly one of them does the work, and SQLite's WAL is on."""
    database = fresh()
    several = multiprocessing.get_context("forkserver")
    several.set_forkserver_preload([__name__])
    barrier, outcomes = several.Barrier(8), several.SimpleQueue()
    arguments = (barrier, database.url.render_as_string(hide_password=False), outcomes)
    processes = [several.Process(target=upgrade_at, args=arguments) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert sorted((outcomes.get() for _ in processes), key=str) == [False] * 7 + [True]
    migrate.require_current(database)
    if database.file is not None:
        with closing(sqlite3.connect(database.file)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.sqlite
def test_a_failing_migration_leaves_nothing(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that dies half-way is undone whole, and the next attempt succeeds."""
    database = fresh()
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "_check_foreign_keys", lambda connection: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            migrate.upgrade(database)
    assert migrate.revision(database) is None
    assert inspect(database.engine).get_table_names() == []
    assert migrate.upgrade(database) is True


@pytest.mark.parametrize("use", [migrate.upgrade, migrate.require_current])
def test_a_newer_database_is_refused(node: Node, use: object) -> None:
    """A database at a revision this program does not know is refused, and left as it is."""
    with node.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unusable, match="newer fedtui") as raised:
        use(node.database)  # type: ignore[operator]
    assert raised.value.code == "database_newer"
    assert "9999" in raised.value.cause
    assert refused(node.settings.home) == "database_newer"
    assert migrate.revision(node.database) == "9999"


def test_a_database_under_an_older_daemon_is_left(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a daemon works on an older schema nothing brings it to another; one that was killed is in nobody's way."""
    database, known = fresh(), asked(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0001")
        migrate.upgrade(database)
    with database.writing() as session:
        daemons.register(session, "x", url="https://a.example", operations_url=None, now=datetime.now(UTC))
    with pytest.raises(Refused, match="older") as raised:
        upgrade(known, database)
    assert (raised.value.code, f"{os.getpid()} on " in raised.value.cause) == ("daemon_running", True)
    assert migrate.revision(database) == "0001"
    with subprocess.Popen(["true"]) as ended:
        pass
    with database.writing() as session:
        session.get_one(daemons.Daemon, "x").pid = ended.pid
    assert upgrade(known, database) is True


def test_an_empty_database_is_older(fresh: Fresh) -> None:
    """Without leave to migrate, an empty database is refused as older, naming the command that mends it."""
    with pytest.raises(Unusable) as raised:
        migrate.require_current(fresh())
    assert raised.value.code == "database_older"
    assert "fedtui db upgrade" in raised.value.fix


# --- the home ----------------------------------------------------------------------------


def test_init_makes_private_files_and_opens_again(node: Node) -> None:
    """What `init` makes is for this account alone, and opens as the same node."""
    home = node.settings.home
    assert home.stat().st_mode & 0o777 == 0o700
    for name in ("vault.key", "config.toml"):
        assert (home / name).stat().st_mode & 0o777 == 0o600
    again = open_node(node.settings)
    with again.read() as session, node.read() as first:
        assert certificates.own_ca(session).fingerprint == certificates.own_ca(first).fingerprint
        assert [(one.name, one.permissions) for one in operators.listing(session)] == [
            ("ada", sorted(operators.PERMISSIONS))
        ]
    assert (again.id, again.name, again.url) == (node.id, "alpha", "https://alpha.example")
    again.close()


def test_no_node_here(tmp_path: Path) -> None:
    """A home without a node says so and how to make one, and opening it creates nothing."""
    assert refused(tmp_path / "nowhere") == "not_set_up"
    assert list(tmp_path.iterdir()) == []


def test_a_second_init_is_refused_and_changes_nothing(node: Node) -> None:
    """`init` on a home with a node is refused; CA and key stay as they are."""
    key = node.settings.vault_key_path.read_bytes()
    with pytest.raises(Refused) as raised:
        init(node.settings.home)
    assert raised.value.code == "already_set_up"
    assert node.settings.vault_key_path.read_bytes() == key
    with node.read() as session:
        assert len(certificates.listing(session)) == 2


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o707])
def test_a_home_others_can_enter_is_refused(node: Node, mode: int) -> None:
    """Neither init nor opening works in a home that other accounts can reach into; the fix is the chmod."""
    node.settings.home.chmod(mode)
    assert refused(node.settings.home) == "home_not_private"
    with pytest.raises(Unusable, match="Other accounts") as raised:
        init(node.settings.home)
    assert raised.value.fix == f"chmod 700 {node.settings.home}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_file_others_can_read_is_refused(node: Node, mode: int) -> None:
    """A vault key with any right for others is refused, with the chmod that mends it."""
    node.settings.vault_key_path.chmod(mode)
    with pytest.raises(Unusable) as raised:
        open_node(node.settings)
    assert raised.value.code == "home_not_private"
    assert raised.value.fix == f"chmod 600 {node.settings.vault_key_path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another account")
def test_a_home_of_another_account_is_refused(node: Node) -> None:
    """A home that another account owns is refused even if its mode is right."""
    os.chown(node.settings.home, 12345, 12345)
    assert refused(node.settings.home) == "home_not_yours"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"bm90IGEga2V5\n", "vault_key_invalid"),
        (b"\xff\x00 not base64", "vault_key_invalid"),
        (b"", "vault_key_invalid"),
        (b"A" * 43 + b"=\n", "vault_key_wrong"),
        (None, "vault_key_missing"),
    ],
)
def test_a_wrong_vault_key_is_named(node: Node, content: bytes | None, code: str) -> None:
    """Missing, malformed and wrong keys are told apart, and none of the messages shows key material."""
    path = node.settings.vault_key_path
    right = path.read_bytes()
    path.unlink()
    if content is not None:
        path.touch(mode=0o600)
        path.write_bytes(content)
    assert refused(node.settings.home) == code
    path.write_bytes(right)
    path.chmod(0o600)
    open_node(node.settings).close()


def test_the_key_may_be_kept_elsewhere(tmp_path: Path) -> None:
    """`vault_key_file` is where the key is made and read; a place that cannot be written is refused by name."""
    with pytest.raises(Unusable) as raised:
        init(tmp_path / "home", vault_key_file=str(tmp_path / "absent" / "key"))
    assert raised.value.code == "vault_key_unwritable"
    (tmp_path / "keys").mkdir()
    init(tmp_path / "home", vault_key_file=str(tmp_path / "keys" / "key")).close()
    assert (tmp_path / "keys" / "key").exists()
    assert not (tmp_path / "home" / "vault.key").exists()
    assert refused(tmp_path / "home") == "vault_key_missing"
    open_node(asked(tmp_path / "home", vault_key_file=str(tmp_path / "keys" / "key"))).close()


def test_an_init_that_died_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When init dies before its commit there is no node; running it again makes one, with the key that was there."""
    with monkeypatch.context() as patched:
        patched.setattr(signing, "create_authority", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            init(tmp_path / "home")
    key = (tmp_path / "home" / "vault.key").read_bytes()
    assert refused(tmp_path / "home") == "not_set_up"
    init(tmp_path / "home").close()
    assert (tmp_path / "home" / "vault.key").read_bytes() == key
    open_node(asked(tmp_path / "home")).close()


@pytest.mark.parametrize("name", ["", "   ", "a" * 41, "tab\tbed", "two\nlines", "\u202ebackwards"])
def test_names_that_would_deceive_are_refused(tmp_path: Path, name: str) -> None:
    """A node's name is 1 to 40 printable characters; a refused init leaves no home behind."""
    with pytest.raises(WrongUsage) as raised:
        init_node(asked(tmp_path / "home"), name=name, url="https://alpha.example")
    assert raised.value.code == "name_invalid"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["ж" * 40, "🛰" * 40, "a" * 40], ids=["cyrillic", "emoji", "latin"])
def test_any_allowed_name_makes_a_node(tmp_path: Path, name: str) -> None:
    """The longest names, in any script, give a CA whose name still fits X.509."""
    node = init_node(asked(tmp_path / "home"), name=name, url="https://alpha.example")
    with node.read() as session:
        assert certificates.own_ca(session).subject.endswith(" federation CA")
    node.close()
