"""Acceptance tokens and invites: what travels, what is mended, what is noticed, and who wins."""

from __future__ import annotations

import base64
import itertools
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import inspect, select, text

from fedtui.core.errors import WrongUsage
from fedtui.core.node import Node
from fedtui.core.peers import peers, tokens
from fedtui.core.peers.tokens import AcceptanceToken, Invite
from fedtui.core.runtime import urls
from fedtui.core.runtime.actor import Actor
from tests.conftest import ManualClock

ADA = Actor("operator", "ada")
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
ENTROPY = st.binary(min_size=32, max_size=32)
TOKEN = ENTROPY.map(lambda raw: tokens._spell(tokens.TOKEN_PREFIX, raw))
HOSTS = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,10}){0,2}", fullmatch=True) | st.sampled_from(
    ["[::1]", "10.0.0.5", "bücher.example"]
)
INVITES = st.builds(
    lambda scheme, host, port, path, token, at, pin: Invite(
        url=urls.normalize(f"{scheme}://{host}{port}{path}"), token=token, expires_at=at, ca_fingerprint=pin
    ),
    st.sampled_from(["https", "http"]),
    HOSTS,
    st.just("") | st.integers(1, 65_535).map(lambda port: f":{port}"),
    st.sampled_from(["", "/fed", "/a/b"]),
    TOKEN,
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1)).map(  # noqa: DTZ001 - given a zone here
        lambda at: at.replace(tzinfo=UTC, microsecond=0)
    ),
    st.none() | ENTROPY.filter(any).map(lambda raw: f"sha256:{raw.hex()}"),
)
NOISE = st.text(" \t\r\n\u00a0\u200b\u200d\u2060\ufeff\u00ad\u202a\"'`\u201c\u201d\u201e\u00ab\u00bb<>,;.", max_size=4)


def noisy(data: st.DataObject, spelled: str) -> str:
    """The same string with noise strewn in and its case mixed."""
    mixed = data.draw(st.sampled_from([str.lower, str.upper, str.title, str.capitalize]))(spelled)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(spelled)), max_size=5)))
    pieces = [mixed[start:end] for start, end in itertools.pairwise([0, *cuts, len(spelled)])]
    return data.draw(NOISE) + "".join(piece + data.draw(NOISE) for piece in pieces)


def damages(spelled: str) -> set[str]:
    """Every single-character change (within the alphabet), drop, insertion, swap of neighbours, and truncation."""
    alphabet = ALPHABET + "1"
    places = range(len(spelled))
    changed = {spelled[:at] + new + spelled[at + 1 :] for at in places for new in alphabet}
    dropped = {spelled[:at] + spelled[at + 1 :] for at in places}
    inserted = {spelled[:at] + new + spelled[at:] for at in range(len(spelled) + 1) for new in alphabet}
    swapped = {spelled[:at] + spelled[at + 1] + spelled[at] + spelled[at + 2 :] for at in places[:-1]}
    truncated = {spelled[:at] for at in range(3, len(spelled))}
    return (changed | dropped | inserted | swapped | truncated) - {spelled}


@given(TOKEN)
def test_tokens_round_trip(token: str) -> None:
    """A token is its prefix and 58 characters that survive any client, and reads back unchanged."""
    assert tokens.clean_token(token) == token
    assert len(token) == 61
    assert set(token[3:]) <= set(ALPHABET)


@given(st.data(), TOKEN)
def test_what_clients_do_to_a_token_is_forgiven(data: st.DataObject, token: str) -> None:
    """Blanks, line breaks, quotes, zero-width characters and another case anywhere leave the same token."""
    assert tokens.clean_token(noisy(data, token)) == token


@given(st.data(), INVITES)
def test_invites_round_trip_and_forgive(data: st.DataObject, invite: Invite) -> None:
    """URL, token, expiry and pin come back as they went in, also through what clients do to the string."""
    spelled = tokens.write_invite(invite)
    assert spelled == spelled.lower()
    assert tokens.read_invite(spelled) == invite
    assert tokens.read_invite(noisy(data, spelled)) == invite


def test_every_damage_to_a_token_is_noticed() -> None:
    """Any one character changed, lost, added or swapped with its neighbour, and any cut at the end, is found
    before the token is sent; nothing else is taken for it."""
    token = tokens._spell(tokens.TOKEN_PREFIX, secrets.token_bytes(32))
    missed = []
    for damaged in damages(token):
        try:
            missed.append((damaged, tokens.clean_token(damaged)))
        except WrongUsage as problem:
            assert problem.code == "token_mangled"
            assert token[10:-10] not in str(problem.as_dict())
    assert missed == []


@pytest.mark.parametrize("side", ["\u2502", "\u2503", "|"])
def test_an_invite_selected_with_the_frame_of_a_dialog_is_read(side: str) -> None:
    """A selection made with the mouse takes in the sides of a dialog and what stands beside it: neither counts."""
    pin = f"sha256:{'ab' * 32}"
    token = tokens._spell(tokens.TOKEN_PREFIX, bytes(range(32)))
    invite = Invite("https://alpha.example.org:8443", token, datetime(2030, 1, 1, tzinfo=UTC), pin)
    spelled = tokens.write_invite(invite)
    pieces = [spelled[start : start + 60] for start in range(0, len(spelled), 60)]
    selected = f" {side}4\n+\u25cb{side} ".join(pieces) + f" {side}"
    assert tokens.read_invite(selected) == invite
    assert tokens.clean_token(f"{side} {token[:30]} {side}\r\n{side} {token[30:]} {side}") == token


def test_every_damage_to_an_invite_is_noticed() -> None:
    """The same holds for an invite, whichever of its parts is hit."""
    token = tokens._spell(tokens.TOKEN_PREFIX, secrets.token_bytes(32))
    at = datetime(2026, 3, 8, 12, tzinfo=UTC)
    invite = Invite("https://b.example:8443", token, at, "sha256:" + secrets.token_hex(32))
    spelled = tokens.write_invite(invite)
    missed = []
    for damaged in damages(spelled):
        try:
            missed.append((damaged, tokens.read_invite(damaged)))
        except WrongUsage as problem:
            assert problem.code in ("token_mangled", "invite_invalid")
    assert missed == []


@given(st.text(max_size=80) | st.text(ALPHABET + "019=+/-_äſıK", max_size=80).map(lambda body: "ft1" + body))
def test_any_text_is_a_token_or_refused(given_: str) -> None:
    """Whatever is given as token or invite is read, passed on, or refused by a named error."""
    for read in (tokens.clean_token, tokens.read_invite):
        try:
            read(given_)
        except WrongUsage as problem:
            assert problem.code in ("token_mangled", "token_empty", "invite_invalid")


@given(st.binary(max_size=90), st.sampled_from(["fi1", "ft1"]))
def test_a_right_checksum_over_nonsense_is_no_invite(content: bytes, prefix: str) -> None:
    """A well-formed string whose content cannot be an invite is refused, not crashed on."""
    assume(content)
    with pytest.raises(WrongUsage) as raised:
        tokens.read_invite(tokens._spell(prefix, content))
    assert raised.value.code in ("invite_invalid", "url_invalid")


@pytest.mark.parametrize(
    "foreign",
    [
        base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("="),
        bytes(range(32)).hex(),
        "0198b3c0-0000-7000-8000-000000000001",
        "Zk9_aB-x.YZ",
        "a7k2m9x4q1w8e5r3t6y0u2i4",
    ],
)
def test_foreign_tokens_pass_untouched(foreign: str) -> None:
    """A token of the original system has no checksum of ours and passes as it is, but for blanks around it."""
    assert tokens.clean_token(f" {foreign}\n") == foreign


@pytest.mark.parametrize("empty", ["", "  \n", "\u200b", '""'])
def test_an_empty_token_is_named(empty: str) -> None:
    """Nothing, or nothing but noise, is an empty token and not a foreign one."""
    with pytest.raises(WrongUsage) as raised:
        tokens.clean_token(empty)
    assert raised.value.code == "token_empty"


def test_a_token_is_not_an_invite() -> None:
    """Giving the token where the invite belongs is told from any other mistake."""
    with pytest.raises(WrongUsage, match="not an invite") as raised:
        tokens.read_invite(tokens._spell(tokens.TOKEN_PREFIX, bytes(32)))
    assert "--token" in raised.value.cause


def test_reprs_do_not_show_the_token() -> None:
    """An invite's repr names where and until when, and nothing that lets anyone in."""
    token = tokens._spell(tokens.TOKEN_PREFIX, secrets.token_bytes(32))
    assert token not in repr(Invite("https://b.example", token, datetime(2026, 1, 1, tzinfo=UTC), None))


# --- in the database ---------------------------------------------------------------------


@pytest.fixture
def peer_id(node: Node) -> str:
    with node.unit(ADA) as unit:
        return peers.add(unit, url="https://b.example").id


def issue(node: Node, peer_id: str, **ttl: float) -> tuple[str, AcceptanceToken]:
    with node.unit(ADA) as unit:
        return tokens.issue(unit, peer_id, timedelta(**ttl)) if ttl else tokens.issue(unit, peer_id)


def use(node: Node, row: AcceptanceToken, key: str | None = None) -> bool:
    with node.unit(ADA) as unit:
        return tokens.use(unit, row, key)


def states(node: Node, peer_id: str) -> list[str]:
    with node.read() as session:
        query = select(AcceptanceToken).where(AcceptanceToken.peer_id == peer_id).order_by(AcceptanceToken.id)
        return [row.state for row in session.scalars(query)]


def test_only_the_digest_is_kept(node: Node, peer_id: str) -> None:
    """No column of any table holds the token; its row is found by the digest alone."""
    token, row = issue(node, peer_id)
    assert row.expires_at == node.clock.now() + timedelta(days=7)
    with node.read() as session:
        tables = inspect(session.connection()).get_table_names()
        kept = str([session.execute(text(f'SELECT * FROM "{table}"')).all() for table in tables])  # noqa: S608
        assert tokens.digest(token) in kept
        assert token[3:-8] not in kept
        found = tokens.by_digest(session, token)
        assert found is not None
        assert found.id == row.id
        assert tokens.by_digest(session, token[:-1]) is None


def test_32_callers_one_wins(node: Node, peer_id: str) -> None:
    """Of 32 threads spending one token at the same moment, each with its own key, exactly one wins, ten times over."""
    for _ in range(10):
        _, row = issue(node, peer_id)
        together = threading.Barrier(32)

        def race(number: int, row: AcceptanceToken = row, together: threading.Barrier = together) -> bool:
            together.wait(30)
            return use(node, row, f"key-{number}")

        with ThreadPoolExecutor(32) as pool:
            won = list(pool.map(race, range(32)))
        assert sum(won) == 1
        with node.read() as session:
            assert session.get_one(AcceptanceToken, row.id).csr_key_fingerprint == f"key-{won.index(True)}"


def test_a_new_token_supersedes_the_old(node: Node, peer_id: str) -> None:
    """Each new token ends the one before it; what was used stays used; only the last can be spent."""
    (_, first), (_, second), (_, third) = issue(node, peer_id), issue(node, peer_id), issue(node, peer_id)
    assert states(node, peer_id) == ["superseded", "superseded", "issued"]
    assert [use(node, row) for row in (first, second, third, third)] == [False, False, True, False]
    issue(node, peer_id)
    assert states(node, peer_id) == ["superseded", "superseded", "used", "issued"]
    with node.unit(ADA) as unit:
        assert tokens.end(unit, peer_id, "cancelled") is True
        assert tokens.end(unit, peer_id, "cancelled") is False
        assert tokens.live(unit.session, peer_id) is None
    assert states(node, peer_id)[-1] == "cancelled"


def test_expiry_is_exact(node: Node, peer_id: str, clock: ManualClock) -> None:
    """A token works until its expiry and not from that moment on, whether or not anyone has marked it."""
    _, early = issue(node, peer_id, hours=1)
    clock.advance(hours=1, microseconds=-1)
    assert use(node, early) is True
    _, late = issue(node, peer_id, hours=1)
    clock.advance(hours=1)
    assert use(node, late) is False
    with node.unit(ADA) as unit:
        assert (tokens.expire(unit), tokens.expire(unit)) == (1, 0)
        live = tokens.live(unit.session, peer_id)
        assert live is not None, "the token still expected, so that a late caller is told it expired"
        assert live.id == late.id
    assert states(node, peer_id) == ["used", "expired"]


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_ttls_have_bounds(node: Node, peer_id: str, ttl: timedelta) -> None:
    """A token lives at least a second and at most 30 days; a refused one supersedes nothing."""
    issue(node, peer_id)
    with pytest.raises(WrongUsage) as raised, node.unit(ADA) as unit:
        tokens.issue(unit, peer_id, ttl)
    assert raised.value.code == "ttl_invalid"
    assert states(node, peer_id) == ["issued"]
