"""Exit codes, JSON shapes and errors of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from fedtui.core.runtime import migrate, settings
from fedtui.core.runtime.database import Database
from tests.homes import Home, MakeHome


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    return make_home("alpha", "--single-operator")


def test_init_says_what_it_made(make_home: MakeHome, tmp_path: Path) -> None:
    """`init` prints the contract's object, and files only this account can read."""
    fresh = Home(tmp_path / "fresh", "https://f.example", "127.0.0.1:1")
    made = fresh.ok("init", "--name", "fresh", "--url", fresh.url)
    assert set(made) == {"name", "url", "home", "node_id", "ca_fingerprint", "operator"}
    assert made["operator"] == "ada"
    assert fresh.path.stat().st_mode & 0o077 == 0
    assert (fresh.path / "vault.key").stat().st_mode & 0o777 == 0o600
    again = fresh.run("init", "--name", "fresh", "--url", fresh.url, "--json")
    assert (again.code, again.json["error"]["code"]) == (3, "already_set_up")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["peers", "show", "nobody"], 2, "peer_not_found"),
        (["peers", "propose", "ftp://x"], 2, "url_invalid"),
        (["peers", "propose", "https://x.example", "--role", "boss"], 2, "role_invalid"),
        (["peers", "token", "nobody", "--ttl", "soon"], 2, "duration_invalid"),
        (["peers", "accept"], 2, "wrong_usage"),
        (["peers", "accept", "--invite", "fi1zzzz"], 2, "token_mangled"),
        (["peers", "accept", "--invite", "-"], 2, "stdin_empty"),
        (["peers", "frobnicate"], 2, "wrong_usage"),
        (["frobnicate"], 2, "wrong_usage"),
        (["peers", "list", "--limit", "many"], 2, "wrong_usage"),
        (["approvals", "show", "zzz"], 2, "approval_not_found"),
        (["settings", "set", "nothing", "on"], 2, "setting_unknown"),
        (["settings", "set", "drill_mode", "maybe"], 2, "setting_invalid"),
        (["policies", "set", "system.federation_peer_propose", "auto_approve"], 3, "policy_floor"),
        (["operators", "add", "x y"], 2, "operator_name_invalid"),
        (["operators", "remove", "ada"], 3, "last_approver"),
        (["events", "--since", "yesterday-ish"], 2, "wrong_usage"),
        (["certs", "show", "zz"], 2, "not_found"),
        (["console"], 2, "no_terminal"),
        ([], 2, "no_terminal"),
    ],
)
def test_errors_have_code_problem_cause_and_fix(home: Home, words: list[str], code: int, error: str) -> None:
    """Every mistake: its exit code, one JSON object on stdout, and no traceback."""
    ran = home.run(*words, "--json") if words else home.run()
    assert ran.code == code, ran
    assert "Traceback" not in ran.err
    assert ran.err.startswith("fedtui: ")
    if words:
        assert set(ran.json["error"]) == {"code", "problem", "cause", "fix"}
        assert ran.json["error"]["code"] == error
        assert all(ran.json["error"].values())


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["config"], {"key", "value", "origin"}),
        (["settings", "list"], {"key", "value", "default"}),
        (["policies", "list"], {"action", "policy", "permission"}),
        (["operators", "list"], {"name", "permissions"}),
        (
            ["certs", "list"],
            {
                "id",
                "serial",
                "subject",
                "subject_kind",
                "fingerprint",
                "peer_id",
                "not_before",
                "not_after",
                "revoked_at",
                "direction",
                "pair",
            },
        ),
        (
            ["events"],
            {
                "id",
                "kind",
                "severity",
                "source",
                "peer_id",
                "actor",
                "origin",
                "correlation_id",
                "payload",
                "emitted_at",
            },
        ),
    ],
)
def test_lists_are_arrays_of_the_contracts_objects(home: Home, words: list[str], keys: set[str]) -> None:
    """Each list is a JSON array whose rows have at least the contract's keys; without --json it is text."""
    rows: list[dict[str, Any]] = home.ok(*words)
    assert rows
    assert all(keys <= set(row) for row in rows)
    assert home.run(*words).code == 0


def test_peer_shapes(home: Home) -> None:
    """`peers list` and `show` carry the contract's keys."""
    asked = home.ok("peers", "propose", "https://b.example", code=4)["approval"]
    home.ok("approvals", "approve", asked["id"], "--digest", asked["digest"])
    assert home.ok("manager", "tick")["executed"] == 1
    [listed] = home.ok("peers", "list")
    shown = home.ok("peers", "show", listed["id"][:20])
    assert listed == shown
    assert {
        "id",
        "remote_instance_url",
        "peer_kind",
        "spawn_role",
        "spawn_mode",
        "status",
        "node_instance_id",
        "last_heartbeat_at",
        "last_outbound_at",
        "last_outbound_error",
        "signed_at",
        "endpoints",
        "capabilities",
        "extension_slugs",
        "metadata",
        "certificate_expires_at",
    } <= set(shown)
    refused = home.run("peers", "suspend", "https://b.example", "--reason", "x", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "transition_refused")
    assert "accepted, revoked" in refused.json["error"]["cause"]


def test_a_home_that_others_can_read_is_refused(home: Home) -> None:
    """A readable home or key is refused with the command that mends it."""
    for path, mode, fix in ((home.path, 0o750, "chmod 700"), (home.path / "vault.key", 0o644, "chmod 600")):
        before = path.stat().st_mode & 0o777
        path.chmod(mode)
        ran = home.run("peers", "list", "--json")
        assert (ran.code, ran.json["error"]["code"]) == (3, "home_not_private")
        assert ran.json["error"]["fix"].startswith(fix)
        path.chmod(before)


def test_a_newer_database_and_a_wrong_key_are_refused(home: Home) -> None:
    """What this program cannot work with safely it does not touch."""
    database = Database(settings.load({"FEDTUI_HOME": str(home.path)}).resolved_database_url)

    def say(revision: str) -> None:
        with database.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})

    say("9999")
    assert home.run("peers", "list", "--json").json["error"]["code"] == "database_newer"
    say(migrate.HEAD)
    database.close()
    (home.path / "vault.key").write_text("A" * 43 + "=\n")
    assert home.run("serve", "--json").json["error"]["code"] == "vault_key_wrong"


def test_config_shows_origins_and_masks_secrets(home: Home) -> None:
    """Each setting says where it came from; a secret is never printed."""
    ran = home.run("config", "--json", FEDTUI_WORKER_TOKEN="hunter2", FEDTUI_STALE_AFTER="9m")
    rows = {row["key"]: row for row in ran.json}
    assert "hunter2" not in ran.out
    assert (rows["stale_after"]["value"], rows["stale_after"]["origin"]) == ("9m", "environment")
    assert (rows["listen"]["origin"], rows["operator"]["origin"]) == ("config.toml", "environment")
    assert rows["heartbeat_interval"]["origin"] == "default"


def test_database_commands(home: Home, tmp_path: Path) -> None:
    """upgrade is idempotent, check finds nothing."""
    assert home.ok("db", "upgrade") == {"upgraded": False, "revision": migrate.HEAD}
    assert home.ok("db", "check") == {"ok": True}


@pytest.mark.sqlite  # a server has tools of its own for that
def test_a_backup_by_command(home: Home, tmp_path: Path) -> None:
    """It never overwrites and says what it lacks."""
    backup = tmp_path / "backup.db"
    assert home.ok("db", "backup", str(backup))["holds_vault_key"] is False
    assert backup.stat().st_mode & 0o777 == 0o600
    assert home.run("db", "backup", str(backup)).code == 3


def test_nowhere_set_up(tmp_path: Path) -> None:
    """On an empty machine every command says how to begin, and makes nothing."""
    empty = Home(tmp_path / "empty", "", "")
    for words in (["peers", "list"], ["serve"], ["manager", "status"]):
        ran = empty.run(*words, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (3, "not_set_up")
        assert "fedtui init" in ran.json["error"]["fix"]
    assert not empty.path.exists()


def test_wrong_words_lead_to_the_help_of_their_command(home: Home) -> None:
    """Also where the parser does not say which command it was at."""
    ran = home.run("peers", "edit", "abc", "--json", "--url")
    assert (ran.code, ran.json["error"]["fix"]) == (2, "See: fedtui peers edit --help")


def test_help_and_version(home: Home) -> None:
    """Help exits 0, also for groups; the version is printed."""
    for words in (["--help"], ["peers", "--help"], ["peers", "accept", "--help"], ["--version"]):
        assert home.run(*words).code == 0
