"""The vault: secrets sealed with AES-256-GCM, each bound to the record it belongs to.

The record (kind, id) and the value's name are authenticated with the ciphertext: a sealed
value copied to another record does not open there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import Unusable
from fedtui.core.runtime import home
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Time

KEY_BYTES = 32
_NONCE_BYTES = 12
_CHECK = "vault_check"


class Owner(NamedTuple):
    """The record a sealed value belongs to: its kind (`credential`, `approval`, ...) and id."""

    kind: str
    id: str


class SealedValue(Base):
    """Ciphertext and what it takes to notice that it was moved or that the key is another."""

    __tablename__ = "sealed_values"

    owner_kind: Mapped[str] = mapped_column(primary_key=True)
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str]
    nonce: Mapped[bytes]
    ciphertext: Mapped[bytes]
    sealed_at: Mapped[Time]


class VaultUnreadable(Unusable):
    """A sealed value does not open: another key, or the value was moved or changed."""

    code = "vault_unreadable"


class Vault:
    """Seals and opens values with one key. Its repr shows nothing of the key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._seed = hmac.digest(key, b"fedtui vault derived keys", "sha256")
        self.key_id = hashlib.sha256(b"fedtui vault key id" + key).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Vault(key_id={self.key_id!r})"

    def derive(self, purpose: bytes, node_id: str) -> bytes:
        """A key for one purpose of one node, from which the vault's own cannot be found."""
        return hmac.digest(self._seed, purpose + b"\0" + node_id.encode(), "sha256")

    def seal(self, session: Session, owner: Owner, name: str, value: bytes, now: datetime) -> None:
        """Store `value` under (owner, name), replacing what was there."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        session.merge(
            SealedValue(
                owner_kind=owner.kind,
                owner_id=owner.id,
                name=name,
                key_id=self.key_id,
                nonce=nonce,
                ciphertext=self._cipher.encrypt(nonce, value, _binding(owner, name)),
                sealed_at=now,
            )
        )

    def open(self, session: Session, owner: Owner, name: str) -> bytes | None:
        """The value under (owner, name), or None. Raises `VaultUnreadable` if it does not open."""
        row = session.get(SealedValue, (owner.kind, owner.id, name))
        return None if row is None else self.unseal(row)

    def unseal(self, row: SealedValue) -> bytes:
        """The value of a row, which opens only as what it says it is of. Raises `VaultUnreadable`."""
        try:
            return self._cipher.decrypt(
                row.nonce, row.ciphertext, _binding(Owner(row.owner_kind, row.owner_id), row.name)
            )
        except (InvalidTag, ValueError):
            raise _unreadable(row, self.key_id) from None

    def place_check(self, session: Session, node_id: str, now: datetime) -> None:
        """Store a known value, so that a wrong key is noticed before anything is written with it."""
        self.seal(session, Owner("node", node_id), _CHECK, b"fedtui", now)

    def require_key(self, session: Session, node_id: str) -> None:
        """Raise `VaultUnreadable` if this is not the key the node was set up with."""
        if self.open(session, Owner("node", node_id), _CHECK) is None:
            raise VaultUnreadable(
                "The vault's check value is missing.",
                cause="The database was not set up by `fedtui init`, or was damaged.",
                fix="Restore a backup of the database.",
            )


def destroy(session: Session, owner: Owner) -> None:
    """Forget every sealed value of a record."""
    session.execute(delete(SealedValue).where(SealedValue.owner_kind == owner.kind, SealedValue.owner_id == owner.id))


def names(session: Session, owner: Owner) -> set[str]:
    """Which values a record has, without opening them."""
    query = select(SealedValue.name).where(SealedValue.owner_kind == owner.kind, SealedValue.owner_id == owner.id)
    return set(session.scalars(query))


def make_key(path: Path) -> bytes:
    """Create a new key file for this account alone; returns the key. Raises `Unusable`."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        home.write_private(path, base64.b64encode(key) + b"\n")
    except OSError as error:
        raise Unusable(
            f"The vault's key file {path} cannot be written.",
            cause=str(error),
            fix="See that its directory exists and is yours, or name another file with FEDTUI_VAULT_KEY_FILE.",
            code="vault_key_unwritable",
        ) from error
    return key


def read_key(path: Path) -> bytes:
    """The key in `path`. Raises `Unusable` when it is missing, readable by others, or not a key."""
    home.require_private(path)
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except FileNotFoundError as error:
        raise Unusable(
            f"The vault's key file {path} is missing.",
            cause="Without it, this node's keys cannot be opened.",
            fix="Put a copy of it there (of one node's machines all have the same), or name another file with "
            "FEDTUI_VAULT_KEY_FILE.",
            code="vault_key_missing",
        ) from error
    except (OSError, ValueError) as error:
        raise _not_a_key(path) from error
    if len(key) != KEY_BYTES:
        raise _not_a_key(path)
    return key


def _not_a_key(path: Path) -> Unusable:
    return Unusable(
        f"{path} does not hold a vault key.",
        cause=f"A key is {KEY_BYTES} bytes in base64.",
        fix="Put back the file that `fedtui init` made.",
        code="vault_key_invalid",
    )


def _binding(owner: Owner, name: str) -> bytes:
    return json.dumps(["fedtui", 1, owner.kind, owner.id, name]).encode()


def _unreadable(row: SealedValue, key_id: str) -> VaultUnreadable:
    if row.key_id != key_id:
        return VaultUnreadable(
            "The vault key is not the one this node was set up with.",
            cause=f"Values were sealed with key {row.key_id}, and the key file holds {key_id}.",
            fix="Put back the right vault.key, or point FEDTUI_VAULT_KEY_FILE at it.",
            code="vault_key_wrong",
        )
    return VaultUnreadable(
        f"A sealed value does not open: {row.name} of {row.owner_kind} {row.owner_id}.",
        cause="It was changed in the database, or copied there from another record.",
        fix="Mint the certificate and key of that record again.",
    )
