"""What a public scanner finds in the TLS of a listening node. Skipped where the scanner is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Served

SCANNER = shutil.which(os.environ.get("SSLYZE", "sslyze"))
"""No dependency of the tests: it wants older libraries than this program, and lives in an environment of its own."""
SCANS = (
    "sslv2",
    "sslv3",
    "tlsv1",
    "tlsv1_1",
    "tlsv1_2",
    "tlsv1_3",
    "compression",
    "early_data",
    "heartbleed",
    "openssl_ccs",
    "robot",
    "reneg",
    "fallback",
    "resum",
    "ems",
    "elliptic_curves",
)
OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
AEAD = ("_GCM_SHA256", "_GCM_SHA384", "_POLY1305_SHA256")


@pytest.mark.skipif(SCANNER is None, reason="sslyze is not installed (pip install sslyze, apart from this project)")
@pytest.mark.timeout(240)
def test_a_scanner_finds_nothing_weak(served: Served, tmp_path: Path) -> None:
    """TLS 1.2 and 1.3 with forward secrecy and AEAD alone, no resumption, no early data, none of the known attacks."""
    found = scan(served, tmp_path / "scan.json")
    for name in OLD:
        assert found[f"{name}_cipher_suites"]["accepted_cipher_suites"] == []
    for version in ("tls_1_2", "tls_1_3"):
        suites = [one["cipher_suite"]["name"] for one in found[f"{version}_cipher_suites"]["accepted_cipher_suites"]]
        assert suites
        assert all(name.endswith(AEAD) for name in suites), suites
        assert version == "tls_1_3" or all("_ECDHE_" in name for name in suites), suites
    assert not found["tls_compression"]["supports_compression"]
    assert not found["tls_1_3_early_data"]["supports_early_data"]
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert found["robot"]["robot_result"].startswith("NOT_VULNERABLE")
    assert not found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"]
    assert found["session_renegotiation"]["supports_secure_renegotiation"]
    assert found["tls_fallback_scsv"]["supports_fallback_scsv"]
    for way in ("session_id_resumption_result", "tls_ticket_resumption_result"):
        assert found["session_resumption"][way] == "NOT_SUPPORTED", way


def scan(served: Served, file: Path) -> dict[str, Any]:
    """Every scan's result by its name, each of which must have come to an end."""
    assert SCANNER is not None
    where = served.node.url.removeprefix("https://")
    wanted = [f"--{name}" for name in SCANS]
    command = [SCANNER, "--mozilla_config=disable", *wanted, f"--json_out={file}", where]
    subprocess.run(command, capture_output=True, check=True, timeout=200)
    [server] = json.loads(file.read_text())["server_scan_results"]
    results = {name: one for name, one in server["scan_result"].items() if one["status"] != "NOT_SCHEDULED"}
    assert len(results) == len(SCANS)
    assert {one["status"] for one in results.values()} == {"COMPLETED"}, results
    return {name: one["result"] for name, one in results.items()}
