"""Grants, decisions and what they lean on, from the command line: the contract's shapes and exit codes."""

from __future__ import annotations

import pytest

from tests.homes import Home, MakeHome

ELSEWHERE = "0195d3a2-7c1e-7000-8000-00000000000e"
URL = "https://b.example"
ISSUE = ("grants", "issue", URL, "--subject", "s", "--kind", "doc")


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    """A single operator's node with a proposed peer."""
    home = make_home("alpha", "--single-operator")
    asked = home.ok("peers", "propose", URL, code=4)["approval"]
    home.ok("approvals", "approve", asked["id"], "--digest", asked["digest"])
    home.ok("manager", "tick")
    return home


def issue(home: Home, *words: str) -> str:
    given = ("--subject", "backup@b", "--kind", "doc", "--scope", "read")
    return str(home.ok("grants", "issue", URL, *given, *words)["id"])


def test_a_grant_from_issue_to_its_end(home: Home) -> None:
    """Issue, list, show, edit, renew and revoke print the contract's keys, and say what they did."""
    made = home.ok(
        "grants",
        "issue",
        URL,
        "--subject",
        "s@b",
        "--kind",
        "doc",
        "--id",
        "one",
        "--scope",
        "read",
        "--scope",
        "write",
        "--instance",
        ELSEWHERE,
        "--cidr",
        "10.0.0.0/8",
        "--ttl",
        "90d",
        "--auto-renew",
    )
    keys = {
        "id",
        "bearer_token",
        "peer_id",
        "remote_subject",
        "resource_kind",
        "resource_id",
        "permission_scopes",
        "node_instance_ids",
        "sdwan_network_ids",
        "source_cidrs",
        "issued_at",
        "expires_at",
        "revoked_at",
    }
    assert keys <= set(made)
    assert made["bearer_token"] == f"fg-{made['id']}"
    assert home.ok("grants", "list")[0]["id"] == made["id"]
    assert keys <= set(home.ok("grants", "show", made["bearer_token"]))
    edited = home.ok("grants", "edit", made["id"], "--add-cidr", "fd00::/8", "--any-instance", "--no-auto-renew")
    assert (edited["source_cidrs"], edited["node_instance_ids"], edited["auto_renew"]) == (
        ["10.0.0.0/8", "fd00::/8"],
        [],
        False,
    )
    assert home.ok("grants", "renew", made["id"], "--ttl", "30d")["expires_at"] < made["expires_at"]
    asked = home.ok("grants", "revoke", made["id"], "--reason", "gone", code=4)
    assert asked["pending"] is True
    home.ok("approvals", "approve", asked["approval"]["id"], "--digest", asked["approval"]["digest"])
    assert home.ok("manager", "tick")["executed"] == 1
    assert home.ok("grants", "show", made["id"])["revoked_at"]
    assert home.ok("grants", "renew", made["id"], code=3)["error"]["code"] == "grant_revoked"


def test_explain_says_why_and_what_would_help(home: Home) -> None:
    """A described call is judged by all checks; exit 1 where it is refused; an edit can be tried on it."""
    grant_id = issue(home, "--cidr", "192.0.2.0/24")
    told = home.ok(
        "grants", "explain", f"fg-{grant_id}", "--kind", "doc", "--id", "one", "--source-ip", "10.1.2.3", code=1
    )
    assert {"allowed", "code", "status", "checks", "fix"} <= set(told)
    assert told["allowed"] is False
    assert {"check", "passed", "detail"} <= set(told["checks"][0])
    refused = {one["check"] for one in told["checks"] if one["passed"] is False}
    assert "source_address" in refused
    tried = home.ok("grants", "explain", grant_id, "--source-ip", "10.1.2.3", "--add-cidr", "10.0.0.0/8", code=1)
    assert "source_address" not in {one["check"] for one in tried["checks"] if one["passed"] is False}
    unknown = home.ok("grants", "explain", f"fg-{ELSEWHERE}", code=1)
    assert (unknown["code"], unknown["status"]) == ("grant_token_unknown", 401)
    shown = home.run("grants", "explain", grant_id, "--source-ip", "10.1.2.3")
    assert "REFUSED" in shown.out
    assert "fix:" in shown.out
    listed = home.run("grants", "list").out.splitlines()
    assert [URL in listed[1], "doc/*" in listed[1], "cidr" in listed[1]] == [True] * 3, listed


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ((*ISSUE, "--scope", "own"), 2, "scope_invalid"),
        ((*ISSUE, "--scope", "read", "--ttl", "1d"), 2, "ttl_invalid"),
        ((*ISSUE, "--scope", "read", "--cidr", "x"), 2, "cidr_invalid"),
        ((*ISSUE, "--scope", "read", "--id", ""), 2, "resource_id_invalid"),
        (("grants", "show", "nope"), 2, "grant_not_found"),
        (("grants", "explain", "fg-x", "--source-ip", "x"), 2, "source_ip_invalid"),
        (("grants", "explain"), 2, "wrong_usage"),
        (("grants", "explain", "--decision", "nope"), 2, "decision_not_found"),
        (("grants", "explain", "fg-x", "--method", "POST"), 2, "method_invalid"),
        (("decisions", "show", "nope"), 2, "decision_not_found"),
        (("bridges", "propose", URL, "nope"), 2, "network_invalid"),
        (("bridges", "activate", "nope"), 2, "bridge_not_found"),
        (("inventory", "remove", "doc"), 2, "kind_not_served"),
        (("resources", "get", "doc", "one"), 2, "resource_not_found"),
        (("resources", "put", "doc", "one", "--document", "{"), 2, "document_invalid"),
        (("resources", "put", "doc", "one", "--document", '{"a": 1, "a": 2}'), 2, "document_invalid"),
        (("resources", "put", "doc", "one", "--document", "1" * 400), 2, "document_invalid"),
        (("certs", "proxy", "edge", "--csr", "/nowhere"), 2, "wrong_usage"),
        (("settings", "set", "trusted_proxies", "sha256:x"), 2, "setting_invalid"),
    ],
)
def test_wrong_words_are_named(home: Home, words: tuple[str, ...], code: int, error: str) -> None:
    """Each slip gets one error object with what is wrong, why and what to do, and no traceback."""
    said = home.ok(*words, code=code)["error"]
    assert said["code"] == error
    assert said["problem"]
    assert said["fix"]


def test_bridges_inventory_and_resources(home: Home) -> None:
    """Each is listed as it was made; a second of the same kind is refused."""
    bridge = home.ok("bridges", "propose", URL, ELSEWHERE)
    assert home.ok("bridges", "activate", bridge["id"])["status"] == "active"
    assert home.ok("bridges", "list")[0]["status"] == "active"
    assert home.ok("bridges", "propose", URL, ELSEWHERE, code=3)["error"]["code"] == "bridge_exists"
    home.ok("inventory", "add", "doc")
    assert [row["kind"] for row in home.ok("inventory", "list")] == ["doc"]
    assert home.ok("inventory", "add", "doc", code=3)["error"]["code"] == "kind_served"
    assert home.ok("resources", "put", "doc", "one", "--document", "-", stdin='{"a": 1}')["version"] == 1
    assert home.ok("resources", "get", "doc", "one")["document"] == {"a": 1}
    assert [row["id"] for row in home.ok("resources", "list", "--kind", "doc")] == ["one"]
    home.ok("resources", "delete", "doc", "one")
    assert home.ok("resources", "list") == []
    assert home.ok("decisions", "list") == []
