"""Certificates from the command line, between two real nodes: shapes, exit codes, and the manual repair."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.homes import PATIENCE_SECONDS, Home, until

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def peer_of(home: Home) -> str:
    [peer] = home.ok("peers", "list")
    return str(peer["id"])


def approved(home: Home, *words: str) -> dict[str, object]:
    """Ask for an act, approve it as the single operator, wait for the daemon's manager; its result."""
    asked = home.ok(*words, code=4)["approval"]
    home.ok("approvals", "approve", asked["id"], "--digest", asked["digest"])

    def ended() -> object:
        shown = home.ok("approvals", "show", asked["id"])
        assert shown["status"] in ("approved", "executing", "executed"), shown
        return shown if shown["status"] == "executed" else None

    return dict(until(ended, "the request was carried out")["result"])


def test_probe_rotate_and_list(two: tuple[Home, Home]) -> None:
    """A healthy peer has no fault (exit 0); renewed, the new certificate leads the list and the old one is replaced."""
    a, b = two
    peer = peer_of(a)
    found = a.ok("certs", "probe", peer)
    assert (found["ok"], found["accepts_our_certificate"], found["faults"]) == (True, True, [])
    assert [step["step"] for step in found["steps"]] == ["dns", "tls", "certificate", "client_certificate"]
    renewed = a.ok("certs", "rotate", peer)
    assert renewed["unfinished"] is None
    listed = a.ok("certs", "list")
    keys = {
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
    }
    assert all(keys <= set(one) for one in listed)
    assert [one["superseded_at"] is None for one in listed if one["direction"] == "outbound"] == [True, False]
    [theirs] = [one for one in b.ok("certs", "list") if one["serial"] == renewed["serial"]]
    assert (theirs["direction"], theirs["first_used_at"] is not None) == ("inbound", True)


def test_a_fault_is_exit_1_and_told_in_words(two: tuple[Home, Home]) -> None:
    """Where nothing listens, the probe exits 1, with what it found in words and as JSON."""
    a, b = two
    b.daemons[-1].terminate()
    b.daemons[-1].wait(PATIENCE_SECONDS)
    peer = peer_of(a)
    told = a.run("certs", "probe", peer)
    assert (told.code, "refused: Nothing listens" in told.out, "fix:" in told.out) == (1, True, True)
    assert a.ok("certs", "probe", peer, code=1)["faults"][0]["code"] == "refused"
    assert a.ok("certs", "probe", "no-such-peer", code=2)["error"]["code"] == "peer_not_found"
    assert a.ok("certs", "rotate", peer, code=5)["error"]["code"] == "remote_refused"


def test_the_manual_repair_by_hand(two: tuple[Home, Home], tmp_path: Path) -> None:
    """csr, issue --csr, store: the runbook's repair with two terminals."""
    a, b = two
    csr = tmp_path / "a.csr"
    csr.write_text(a.ok("certs", "csr", peer_of(a))["csr_pem"])
    minted = approved(b, "certs", "issue", peer_of(b), "--csr", str(csr))
    cert = tmp_path / "a.pem"
    cert.write_text(str(minted["cert_pem"]) + str(minted["chain_pem"]))
    stored = a.ok("certs", "store", peer_of(a), "--cert", str(cert))
    assert (stored["serial"], stored["unfinished"]) == (minted["serial"], None)
    assert a.ok("certs", "store", peer_of(a), "--cert", str(tmp_path / "gone"), code=2)["error"]["fix"]


@openssl
def test_a_pair_made_by_openssl(two: tuple[Home, Home], tmp_path: Path) -> None:
    """A key and request of `openssl req` are signed, stored and used; `openssl verify` agrees with the chain."""
    a, b = two
    made = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "r.pem", "-subj", "/CN=x"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    minted = approved(b, "certs", "issue", peer_of(b), "--csr", str(tmp_path / "r.pem"))
    (tmp_path / "c.pem").write_text(str(minted["cert_pem"]))
    (tmp_path / "ca.pem").write_text(b.ok("ca", "show")["cert_pem"])
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "c.pem"]
    assert subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True).stdout == b"c.pem: OK\n"
    key = (tmp_path / "k.pem").read_text()
    stored = a.run("certs", "store", peer_of(a), "--cert", str(tmp_path / "c.pem"), "--key", "-", "--json", stdin=key)
    assert (stored.code, json.loads(stored.out)["unfinished"]) == (0, None)
    assert key.splitlines()[1] not in stored.out + stored.err


def test_revoke_and_trust(two: tuple[Home, Home]) -> None:
    """Revoked by serial, the peer is turned away; another CA is trusted by its fingerprint alone."""
    a, b = two
    [serial] = [one["serial"] for one in b.ok("certs", "list") if one["direction"] == "inbound"]
    approved(b, "certs", "revoke", serial, "--reason", "test")
    found = a.ok("certs", "probe", peer_of(a), code=1)
    assert [one["code"] for one in found["faults"]] == ["own_certificate_rejected"]
    assert a.ok("certs", "trust", peer_of(a), "--ca-fingerprint", "x", code=2)["error"]["code"] == (
        "ca_fingerprint_invalid"
    )
    pin = b.ok("ca", "show")["fingerprint"]
    assert approved(a, "certs", "trust", peer_of(a), "--ca-fingerprint", pin)["ca_fingerprint"] == pin
