"""Acceptance tokens: the single-use secret that lets a remote platform in.

32 bytes of entropy, shown once, kept as a SHA-256 digest. Every token's digest is kept
with what became of it, so that this node can tell its own operator which token a rejected
caller presented.

Tokens and invites are spelled in lower-case base32 (RFC 4648 section 6) behind a checksum:
messaging clients break lines, capitalise, and turn dashes and underscores into typography,
and none of that can hurt this alphabet.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Index, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import WrongUsage
from fedtui.core.runtime import urls
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Json, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

SOURCE = "tokens"
TOKEN_PREFIX = "ft1"  # noqa: S105 - the public first characters, not a secret
INVITE_PREFIX = "fi1"
ENTROPY_BYTES = 32
CHECK_BYTES = 4
_INVITE = struct.Struct(f">Q{ENTROPY_BYTES}s32s")
_NO_PIN = bytes(32)
DEFAULT_TTL = timedelta(days=7)
LONGEST_TTL = timedelta(days=30)
_NOISE = re.compile("[\\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff<>\"'`\u2018-\u201f\u00ab\u00bb.,;]+")
"""What clients add around and inside a pasted string: blanks, zero-width characters, quotes, brackets."""
_FRAMES = re.compile("[|\u2500-\u259f]+")
"""Sides of a dialog, which a selection made with the mouse takes in."""
_TOKEN_BODY = 58
"""Characters of a token after its prefix."""
_TOKEN_ALPHABET = re.compile(f"[a-z1-7]{{{len(TOKEN_PREFIX) + _TOKEN_BODY}}}")


class AcceptanceToken(Base):
    """One issued token. `state`: `issued`, `used`, `superseded`, `expired`, `cancelled`.

    `csr_key_fingerprint` and `answer` let a caller whose answer was lost repeat the same accept.
    """

    __tablename__ = "acceptance_tokens"
    __table_args__ = (
        Index("ix_acceptance_tokens_peer_id_state", "peer_id", "state"),
        Index("uq_acceptance_tokens_digest", "digest", unique=True),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(Text_)
    digest: Mapped[str]
    state: Mapped[str]
    issued_at: Mapped[Time]
    expires_at: Mapped[Time]
    ended_at: Mapped[Time | None]
    csr_key_fingerprint: Mapped[str | None]
    answer: Mapped[dict[str, Any] | None] = mapped_column(Json)


@dataclass(frozen=True, slots=True)
class Invite:
    """What the proposing side hands over, in one string: where, with what, until when, and
    which CA to expect there (`sha256:...`; None where its certificate is publicly trusted)."""

    url: str
    token: str
    expires_at: datetime
    ca_fingerprint: str | None

    def __repr__(self) -> str:
        return f"Invite({self.url}, expires_at={self.expires_at.isoformat()})"


def issue(unit: Unit, peer_id: str, ttl: timedelta = DEFAULT_TTL) -> tuple[str, AcceptanceToken]:
    """A new token for the peer, in clear this one time, and its row. Supersedes the one before."""
    if not timedelta(seconds=1) <= ttl <= LONGEST_TTL:
        raise WrongUsage(
            "A token cannot live that long." if ttl > LONGEST_TTL else "A token must live at least a second.",
            cause=f"The longest is {LONGEST_TTL.days} days; a token is meant to be handed over and used.",
            fix="Give --ttl 1h, or leave it out for 7 days.",
            code="ttl_invalid",
        )
    end(unit, peer_id, "superseded")
    token = _spell(TOKEN_PREFIX, secrets.token_bytes(ENTROPY_BYTES))
    row = AcceptanceToken(
        id=new_id(),
        peer_id=peer_id,
        digest=digest(token),
        state="issued",
        issued_at=unit.now,
        expires_at=unit.now + ttl,
    )
    unit.session.add(row)
    unit.session.flush()
    return token, row


def end(unit: Unit, peer_id: str, state: str) -> bool:
    """End the peer's live token, if it has one, as `superseded` or `cancelled`."""
    ended = unit.session.execute(
        update(AcceptanceToken)
        .where(AcceptanceToken.peer_id == peer_id, AcceptanceToken.state == "issued")
        .values(state=state, ended_at=unit.now)
        .returning(AcceptanceToken.id)
    ).all()
    return bool(ended)


def cancel_all(unit: Unit) -> int:
    """Cancel every open token, and return how many there were."""
    live = update(AcceptanceToken).where(AcceptanceToken.state == "issued")
    cancelled = unit.session.execute(live.values(state="cancelled", ended_at=unit.now).returning(AcceptanceToken.id))
    return len(cancelled.all())


def use(unit: Unit, row: AcceptanceToken, csr_key_fingerprint: str | None) -> bool:
    """Spend the token: one conditional update, so that exactly one of many callers wins."""
    won = unit.session.execute(
        update(AcceptanceToken)
        .where(
            AcceptanceToken.id == row.id,
            AcceptanceToken.state == "issued",
            AcceptanceToken.expires_at > unit.now,
        )
        .values(state="used", ended_at=unit.now, csr_key_fingerprint=csr_key_fingerprint)
        .returning(AcceptanceToken.id)
    ).one_or_none()
    return won is not None


def expire(unit: Unit) -> int:
    """Mark tokens past their expiry; how many. Acceptance checks the time itself."""
    ended = unit.session.execute(
        update(AcceptanceToken)
        .where(AcceptanceToken.state == "issued", AcceptanceToken.expires_at <= unit.now)
        .values(state="expired", ended_at=unit.now)
        .returning(AcceptanceToken.peer_id, AcceptanceToken.expires_at)
    ).all()
    for row in ended:
        emit(
            unit,
            "federation.peer.token_expired",
            source=SOURCE,
            peer_id=row.peer_id,
            expires_at=row.expires_at.isoformat(),
        )
    return len(ended)


def live(session: Session, peer_id: str) -> AcceptanceToken | None:
    """The token a peer is expected to present: issued, or run out of time without being replaced."""
    row = newest(session, peer_id)
    return row if row is not None and row.state in ("issued", "expired") else None


def newest(session: Session, peer_id: str) -> AcceptanceToken | None:
    """The latest token issued for a peer, whatever became of it."""
    query = select(AcceptanceToken).where(AcceptanceToken.peer_id == peer_id).order_by(AcceptanceToken.id.desc())
    return session.scalars(query.limit(1)).first()


def any_issued(session: Session, peer_id: str) -> bool:
    """Whether a token was ever issued for the peer."""
    query = select(AcceptanceToken.id).where(AcceptanceToken.peer_id == peer_id).limit(1)
    return session.scalars(query).first() is not None


def by_digest(session: Session, token: str) -> AcceptanceToken | None:
    """The row of a presented token. The digest of 32 random bytes tells an attacker nothing by
    its position in an index, so that looking it up is as safe as comparing in constant time."""
    return session.scalars(select(AcceptanceToken).where(AcceptanceToken.digest == digest(token))).one_or_none()


def digest(token: str) -> str:
    """SHA-256 of the token's text, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def clean_token(text: str) -> str:
    """A token as it was before a messaging client touched it.

    Raises `WrongUsage` (`token_mangled`) when one of ours fails its checksum; another
    system's token, which carries none, passes unchecked.
    """
    bare = bare_text(text)
    if not bare:
        raise WrongUsage(
            "The acceptance token is empty.",
            cause="Nothing was given, or only blanks.",
            fix="Ask the other side's operator for the token: fedtui peers token PEER",
            code="token_empty",
        )
    if not _is_ours(bare):
        return text.strip()
    _read(TOKEN_PREFIX, bare, "acceptance token")
    return bare


def has_checksum(token: str) -> bool:
    """Whether a token, as `clean_token` gave it, is one of ours, whose checksum has held."""
    return _is_ours(token)


def bare_text(text: str) -> str:
    """A pasted token or invite in lower case, without blanks, quotes, and the frames of a dialog that was selected.

    Of a line with frame characters in it, the longest piece is what stood in the frame.
    """
    if _FRAMES.search(text):
        text = "".join(max(map(str.strip, _FRAMES.split(line)), key=len, default="") for line in text.splitlines())
    return _NOISE.sub("", text).lower()


def write_invite(invite: Invite) -> str:
    """The invite as one checksummed string: expiry, token and fingerprint in binary, then the URL."""
    pin = bytes.fromhex(invite.ca_fingerprint.removeprefix("sha256:")) if invite.ca_fingerprint else _NO_PIN
    secret = _read(TOKEN_PREFIX, invite.token, "acceptance token")
    fixed = _INVITE.pack(int(invite.expires_at.timestamp()), secret, pin)
    return _spell(INVITE_PREFIX, fixed + invite.url.encode())


def read_invite(text: str) -> Invite:
    """The invite in a string. Raises `WrongUsage` naming what was mangled."""
    bare = bare_text(text)
    if not bare.startswith(INVITE_PREFIX):
        hint = "It looks like a token; give it with --token, --url and --ca-fingerprint."
        raise WrongUsage(
            "That is not an invite.",
            cause=hint if bare.startswith(TOKEN_PREFIX) else f"An invite begins with {INVITE_PREFIX}.",
            fix="Ask the other side's operator for the invite: fedtui peers token PEER",
            code="invite_invalid",
        )
    content = _read(INVITE_PREFIX, bare, "invite")
    try:
        expires, secret, pin = _INVITE.unpack_from(content)
        return Invite(
            url=urls.normalize(content[_INVITE.size :].decode(), field="invite"),
            token=_spell(TOKEN_PREFIX, secret),
            expires_at=datetime.fromtimestamp(expires, UTC),
            ca_fingerprint=None if pin == _NO_PIN else f"sha256:{pin.hex()}",
        )
    except (struct.error, ValueError, OverflowError, OSError) as error:
        raise WrongUsage(
            "The invite's checksum holds, but its content makes no sense.",
            cause=str(error),
            fix="See that both sides run a current fedtui, and ask for a new invite.",
            code="invite_invalid",
        ) from error


def _spell(prefix: str, content: bytes) -> str:
    checked = content + _checksum(prefix, content)
    return prefix + base64.b32encode(checked).decode().rstrip("=").lower()


def _is_ours(bare: str) -> bool:
    """Whether this is a token of this system, even with its first characters changed or lost."""
    if bare.startswith(TOKEN_PREFIX) or _TOKEN_ALPHABET.fullmatch(bare):
        return True
    try:
        return bool(_read(TOKEN_PREFIX, TOKEN_PREFIX + bare[-_TOKEN_BODY:], "acceptance token"))
    except WrongUsage:
        return False


def _read(prefix: str, bare: str, what: str) -> bytes:
    body = bare.removeprefix(prefix).upper()
    try:
        content = base64.b32decode(body + "=" * (-len(body) % 8))[:-CHECK_BYTES]
    except ValueError as error:
        raise _mangled(what, len(bare)) from error
    # Spelled anew it must be the same text: the last character has bits to spare, which no checksum sees.
    if not content or not secrets.compare_digest(_spell(prefix, content).encode(), bare.encode()):
        raise _mangled(what, len(bare))
    return content


def _checksum(prefix: str, content: bytes) -> bytes:
    return hashlib.sha256(prefix.encode() + content).digest()[:CHECK_BYTES]


def _mangled(what: str, length: int) -> WrongUsage:
    return WrongUsage(
        f"The {what} was mangled on its way here.",
        cause=f"Its checksum does not hold ({length} characters arrived): one is missing, added or changed.",
        fix=f"Copy the whole {what} again, from its first character to its last; it was not sent anywhere.",
        code="token_mangled",
    )
