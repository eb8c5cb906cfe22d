"""The vault: what is sealed opens for its own record and key only, and nothing else shows it."""

from __future__ import annotations

import base64
import secrets
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import update

from fedtui.core.errors import Unusable
from fedtui.core.node import Node
from fedtui.core.peers import peers, tokens
from fedtui.core.pki import certificates, key_pairs, signing
from fedtui.core.pki import vault as vaults
from fedtui.core.pki.signing import PRIVATE_KEY
from fedtui.core.pki.vault import Owner, SealedValue, Vault, VaultUnreadable
from fedtui.core.runtime.actor import Actor
from tests.conftest import START

ADA = Actor("operator", "ada")
OWNER = Owner("credential", "0198b3c0-0000-7000-8000-000000000001")
OTHER = Owner("credential", "0198b3c0-0000-7000-8000-000000000002")
SECRET = b"the value that must not be seen"


@pytest.fixture
def sealed(node: Node) -> Node:
    """A node with SECRET sealed as `key` of OWNER."""
    with node.unit(ADA) as unit:
        node.vault.seal(unit.session, OWNER, "key", SECRET, unit.now)
    return node


def opened(node: Node, owner: Owner = OWNER, name: str = "key", vault: Vault | None = None) -> bytes | None:
    with node.read() as session:
        return (vault or node.vault).open(session, owner, name)


def test_round_trip_replace_and_destroy(sealed: Node) -> None:
    """A value opens as it was sealed; sealing again replaces it; destroying a record leaves others alone."""
    assert opened(sealed) == SECRET
    assert opened(sealed, name="absent") is None
    with sealed.unit(ADA) as unit:
        sealed.vault.seal(unit.session, OWNER, "key", b"new", unit.now)
        sealed.vault.seal(unit.session, OWNER, "empty", b"", unit.now)
        sealed.vault.seal(unit.session, OTHER, "key", SECRET, unit.now)
        assert vaults.names(unit.session, OWNER) == {"key", "empty"}
    assert (opened(sealed), opened(sealed, name="empty")) == (b"new", b"")
    with sealed.unit(ADA) as unit:
        vaults.destroy(unit.session, OWNER)
    assert opened(sealed) is None
    assert opened(sealed, OTHER) == SECRET


def test_sealing_twice_never_repeats_itself(sealed: Node) -> None:
    """The same value sealed again has another nonce and another ciphertext."""
    seen = set()
    for _ in range(20):
        with sealed.unit(ADA) as unit:
            sealed.vault.seal(unit.session, OWNER, "key", SECRET, unit.now)
            unit.session.flush()
            row = unit.session.get_one(SealedValue, (*OWNER, "key"))
            seen.add((row.nonce, row.ciphertext))
    assert len({nonce for nonce, _ in seen}) == len({text for _, text in seen}) == 20


@pytest.mark.parametrize(("owner", "name"), [(OTHER, "key"), (OWNER, "other"), (Owner("certificate", OWNER.id), "key")])
def test_a_copied_value_does_not_open(sealed: Node, owner: Owner, name: str) -> None:
    """A row copied to another record, kind or name is refused there: it is bound to where it was sealed."""
    with sealed.unit(ADA) as unit:
        row = unit.session.get_one(SealedValue, (*OWNER, "key"))
        unit.session.add(
            SealedValue(
                owner_kind=owner.kind,
                owner_id=owner.id,
                name=name,
                key_id=row.key_id,
                nonce=row.nonce,
                ciphertext=row.ciphertext,
                sealed_at=row.sealed_at,
            )
        )
    with pytest.raises(VaultUnreadable, match=f"{name} of {owner.kind} {owner.id}") as raised:
        opened(sealed, owner, name)
    assert raised.value.code == "vault_unreadable"
    assert opened(sealed) == SECRET


@pytest.mark.parametrize("column", ["nonce", "ciphertext"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "longer"])
def test_a_changed_value_does_not_open(sealed: Node, column: str, damage: str) -> None:
    """One flipped bit anywhere, or bytes lost or added, is noticed and named; nothing is decrypted wrongly."""
    with sealed.unit(ADA) as unit:
        whole: bytes = getattr(unit.session.get_one(SealedValue, (*OWNER, "key")), column)
    flips = [whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :] for place in range(len(whole))]
    changed = {"flip": flips, "cut": [whole[:-1], whole[1:]], "empty": [b""], "longer": [whole + b"\0"]}[damage]
    for content in changed:
        with sealed.unit(ADA) as unit:
            unit.session.execute(update(SealedValue).where(SealedValue.owner_id == OWNER.id).values({column: content}))
        with pytest.raises(VaultUnreadable) as raised:
            opened(sealed)
        assert raised.value.code == "vault_unreadable"


def test_another_key_is_told_from_damage(sealed: Node) -> None:
    """With the wrong key the error says so, and names both keys by their ids only."""
    stranger = Vault(secrets.token_bytes(32))
    with pytest.raises(VaultUnreadable) as raised:
        opened(sealed, vault=stranger)
    assert raised.value.code == "vault_key_wrong"
    assert sealed.vault.key_id in raised.value.cause
    assert stranger.key_id in raised.value.cause


def test_nothing_shows_the_key_or_the_value(sealed: Node) -> None:
    """repr, str and tracebacks of vault, node and authority show neither the key nor what was sealed."""
    file = sealed.settings.vault_key_path.read_bytes().strip()
    key = base64.b64decode(file)
    with sealed.read() as session:
        authority = signing.open_authority(session, sealed.vault)
        row = session.get_one(SealedValue, (*OWNER, "key"))
        shown = [sealed.vault, sealed, authority, row, key_pairs.ClientKeyPair("complete", None, SECRET)]
        said = "".join(repr(one) + str(one) for one in shown)
    with sealed.unit(ADA) as unit:
        unit.session.execute(update(SealedValue).values(ciphertext=SECRET * 2))
    for vault in (sealed.vault, Vault(secrets.token_bytes(32))):
        with pytest.raises(VaultUnreadable) as raised:
            opened(sealed, vault=vault)
        said += "".join(traceback.format_exception(raised.value)) + str(raised.value.as_dict())
    assert "BEGIN" not in said
    for secret in (file.decode(), key.hex(), repr(key)[2:-1], repr(SECRET)[2:-1]):
        assert secret not in said


def test_key_files_round_trip(tmp_path: Path) -> None:
    """A made key is 32 fresh bytes and is read back as it was made; a key file is never overwritten."""
    first, second = vaults.make_key(tmp_path / "a"), vaults.make_key(tmp_path / "b")
    assert len(first) == 32
    assert first != second
    assert vaults.read_key(tmp_path / "a") == first
    with pytest.raises(Unusable) as raised:
        vaults.make_key(tmp_path / "a")
    assert raised.value.code == "vault_key_unwritable"
    assert vaults.read_key(tmp_path / "a") == first


@pytest.mark.sqlite
def test_the_database_file_holds_no_secret_in_clear(node: Node) -> None:
    """After a CA, a server certificate, a credential and a token, neither the database file nor its WAL has a
    private key (PEM, DER or bare number), the token, or the vault's key in it."""
    with node.unit(ADA) as unit:
        peer = peers.add(unit, url="https://b.example")
        token, _ = tokens.issue(unit, peer.id)
        credential = key_pairs.prepare(unit, node.vault, peer.id, common_name="alpha")
        node.vault.seal(unit.session, OWNER, "key", SECRET, unit.now)
        server = certificates.current_server(unit.session)
        assert server is not None
        pems = [
            signing.key_pem(signing.open_authority(unit.session, node.vault).key),
            signing.private_key_pem(unit.session, node.vault, server),
            node.vault.open(unit.session, Owner("credential", credential.id), PRIVATE_KEY),
        ]
    files = [file for file in node.settings.home.iterdir() if file.name.startswith("fedtui.db")]
    assert {"fedtui.db", "fedtui.db-wal"} <= {file.name for file in files}
    kept = b"".join(file.read_bytes() for file in files)
    assert b"BEGIN CERTIFICATE" in kept, "the search itself works: certificates are not sealed"
    assert tokens.digest(token).encode() in kept
    vault_key = node.settings.vault_key_path.read_bytes().strip()
    forbidden = [b"PRIVATE KEY", SECRET, token.encode(), token[3:].upper().encode(), vault_key]
    forbidden.append(base64.b64decode(vault_key))
    for pem in pems:
        assert pem is not None
        key = serialization.load_pem_private_key(pem, password=None)
        assert isinstance(key, signing.ec.EllipticCurvePrivateKey)
        forbidden.append(key.private_numbers().private_value.to_bytes(32, "big"))
        forbidden += [line for line in pem.splitlines() if len(line) > 60]
    assert [secret for secret in forbidden if secret in kept] == []


def test_the_check_value_notices_a_foreign_database(node: Node) -> None:
    """A database without its check value, or with another node's, is refused before anything is written."""
    with node.unit(ADA) as unit:
        vaults.destroy(unit.session, Owner("node", node.id))
    with node.read() as session, pytest.raises(VaultUnreadable, match="check value is missing"):
        node.vault.require_key(session, node.id)
    with node.unit(ADA) as unit:
        node.vault.place_check(unit.session, node.id, START)
    with node.read() as session:
        node.vault.require_key(session, node.id)


def test_a_systemd_credential_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in systemd's credential directory is used although its mode looks open; elsewhere it is refused."""
    key = tmp_path / "vault.key"
    made = vaults.make_key(key)
    key.chmod(0o440)
    with pytest.raises(Unusable):
        vaults.read_key(key)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert vaults.read_key(key) == made
