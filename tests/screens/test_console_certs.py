"""mTLS on the console: what the screen looks like, what hurts first, the acts, the probe as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fake_node import NOW, FakeNode, console, in_loop, page, settled, type_in, until, zoo
from textual.pilot import Pilot
from textual.screen import Screen

from fedtui.app import Console
from fedtui.core.certificates.listing import CertificateLine
from fedtui.core.node import Node
from fedtui.core.pki.tls_inspect import TlsInspection, fault
from fedtui.core.protocol.probe import Report, Step
from fedtui.core.views.node_summary import CertificateRecord
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.probing import Probing
from fedtui.screens.dialogs.tell import Shown
from fedtui.screens.mtls import view as certificate_view
from fedtui.screens.mtls.screen import CERTS_KIND, CertScreen, CertsScreen
from fedtui.screens.widgets.window import Window
from tests.conftest import START

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
BRAVO = "https://bravo.example.org"


def cert(number: int, direction: str = "outbound", **fields: Any) -> CertificateLine:
    """A certificate with 60 of its 90 days left, whole, unless told otherwise."""
    kind = {"own": "server"}.get(direction, "federation_peer")
    values: dict[str, Any] = {
        "id": f"01950000-0000-7000-b000-{number:012d}",
        "direction": direction,
        "subject_kind": kind,
        "subject": f"CN=fed:01950000-0000-7000-8000-{number:012d}" if kind != "server" else "CN=alpha.example.org",
        "serial": f"{number:02x}" * 20,
        "peer_id": None if direction == "own" else "01950000-0000-7000-8000-000000000001",
        "peer_url": None if direction == "own" else BRAVO,
        "peer_status": None if direction == "own" else "active",
        "not_before": NOW - timedelta(days=30),
        "not_after": NOW + timedelta(days=60, hours=1),
        "renew_at": NOW + timedelta(days=40) if direction == "outbound" else None,
        "first_used_at": NOW - timedelta(days=29) if direction == "inbound" else None,
        "superseded_at": None,
        "revoked_at": None,
        "problem": None,
        "last_handshake_at": NOW - timedelta(minutes=3) if direction != "own" else None,
        "last_outbound_error": None,
        "rank": 1,
    }
    return CertificateLine(**{**values, **fields})


def certs() -> list[CertificateLine]:
    """One of each sort, in the order of what hurts first."""
    refused = "partial_mtls: This node has only half of what it needs to call https://echo.example.org."
    return [
        cert(
            1,
            subject="",
            serial="",
            not_after=None,
            renew_at=None,
            problem="cert_missing",
            peer_url="https://delta.example.org:8443",
        ),
        cert(2, problem="key_missing", peer_url="https://echo.example.org", last_outbound_error=refused, rank=0),
        cert(3, "inbound", not_after=NOW - timedelta(days=1), peer_url="https://golf.example.org"),
        cert(
            4,
            not_after=NOW + timedelta(hours=30),
            renew_at=NOW - timedelta(days=19),
            not_before=NOW - timedelta(days=89),
        ),
        cert(5, "own", not_after=NOW + timedelta(days=12)),
        cert(6, "inbound"),
        cert(7, "inbound", subject_kind="instance", subject="CN=proxy:edge-1", peer_id=None, peer_url=None),
        cert(
            8,
            "own",
            subject_kind="ca",
            subject="CN=alpha federation CA",
            not_after=NOW + timedelta(days=3600),
            not_before=NOW - timedelta(days=52),
        ),
        cert(9, superseded_at=NOW - timedelta(days=30), rank=2),
        cert(10, "inbound", revoked_at=NOW - timedelta(days=3), peer_url="https://hotel.example.org", rank=2),
    ]


def in_full(line: CertificateLine) -> CertificateRecord:
    """A certificate in full."""
    link = {
        "fingerprint": "sha256:" + "ab" * 32,
        "not_before": NOW,
        "not_after": NOW + timedelta(days=60),
        "key": "EC secp256r1",
    }
    chain = [{**link, "subject": line.subject}, {**link, "subject": "CN=bravo federation CA"}]
    waits = {
        "attempts": 4,
        "next_attempt_at": NOW + timedelta(minutes=8),
        "since": NOW - timedelta(minutes=15),
        "last_error": "remote_refused: Nothing listens at the peer's address.",
    }
    crl = {
        "this_update": NOW - timedelta(minutes=50),
        "next_update": NOW + timedelta(hours=23),
        "revoked": 2,
        "covers": True,
        "error": None,
    }
    caller = {"source_ip": "192.0.2.9", "subject": "CN=fed:b", "issuer": "CN=alpha CA"}
    turned = {
        "id": "01950000-0000-7000-a000-000000000009",
        "code": "cert_expired",
        "last_at": NOW - timedelta(hours=2),
        "context": {"caller": caller},
    }
    return CertificateRecord(
        shape={"problem": line.problem, "peer_id": line.peer_id},
        chain=chain,
        broken=line.problem,
        renewal=waits,
        crl=crl,
        refused=[turned],
        public_pem="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        offered=line.direction == "inbound",
    )


def report(*faults: str) -> Report:
    """A probe that found these."""
    steps = (
        Step("dns", True, "bravo.example.org is 192.0.2.7", 0.01),
        Step("tls", True, "TLSv1.3, TLS_AES_256_GCM_SHA384; it asks for a client certificate", 0.02),
        Step("certificate", not faults, "CN=bravo.example.org, until 2026-04-30", 0.0),
    )
    found = tuple(fault(code, f"What {code} means in words.") for code in faults)
    return Report(
        BRAVO,
        None,
        steps if faults else (*steps, Step("client_certificate", True, "It takes ours.", 0.1)),
        TlsInspection(),
        None,
        True,
        found,
    )


def node() -> FakeNode:
    """A node with certificates."""
    made = FakeNode(zoo()[:2])
    made.others = {"certs": {one.id: one for one in certs()}}
    made.records = {one.id: in_full(one) for one in certs()}
    made.probed = report()
    return made


LOOKS: dict[str, tuple[str, tuple[str, ...], type[Screen[Any]]]] = {
    "certs": ("certs", (), CertsScreen),
    "cert": (f"certs/{certs()[1].id}", (), CertScreen),
    "cert-renew": ("certs", ("j", "j", "j", "n"), Ask),
    "cert-revoke": ("certs", ("j", "j", "j", "j", "j", "X"), Ask),
    "cert-probe": ("certs", ("j", "P"), Probing),
    "cert-probe-faults": ("certs", ("j", "P"), Probing),
    "cert-export": ("certs", ("j", "x"), Shown),
}


async def at(pilot: Pilot[None], place: str) -> None:
    """Wait until the place is shown and read."""
    await settled(pilot)
    await until(pilot, lambda: getattr(pilot.app.screen, "place", "").startswith(place))
    screen: Any = pilot.app.screen
    if "/" in place:
        await until(pilot, lambda: screen._look.record is not None)
        screen.update()
        await pilot.pause()
    else:
        await until(pilot, lambda: screen.query_one(Window).has_rows)


async def over(pilot: Pilot[None]) -> None:
    """Wait until a probe has said all."""
    await until(pilot, lambda: "Nothing is wrong" in page(pilot) or "fix:" in page(pilot))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOOKS)
def test_looks(snap_compare: Compare, name: str, size: str) -> None:
    """Each state of the mTLS screen, at both sizes."""
    place, keys, top = LOOKS[name]
    made = node()
    if name == "cert-probe-faults":
        made.probed = report("expired", "name_mismatch")
    app = console(made, place=place)

    async def go(pilot: Pilot[None]) -> None:
        await at(pilot, place)
        for key in keys:
            await type_in(pilot, key)
        await until(pilot, lambda: isinstance(app.screen, top))
        if top is Probing:
            await over(pilot)
        if isinstance(app.screen, Ask):
            dialog = app.screen
            await until(pilot, lambda: dialog.ready)
        await pilot.pause(0.05)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=go)


@pytest.mark.parametrize("variable", ["NO_COLOR", "LANG"])
def test_certs_without_colour_and_without_glyphs(
    snap_compare: Compare, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every state of a certificate is told by a word, too; ASCII alone draws the bar and the arrows."""
    monkeypatch.setenv(*{"NO_COLOR": ("NO_COLOR", "1"), "LANG": ("LC_ALL", "C")}[variable])
    app = console(node(), place="certs")

    async def go(pilot: Pilot[None]) -> None:
        await at(pilot, "certs")

    assert snap_compare(app, terminal_size=(80, 24), run_before=go)


@in_loop
async def test_acts_go_to_the_peer_of_the_certificate() -> None:
    """Renewing asks the peer, minting signs for it, revoking names the certificate; each only where it makes sense."""
    made = node()
    app = console(made, place="certs")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "certs")
        for count, key in enumerate(("n", "M"), 1):
            await type_in(pilot, "j")
            await type_in(pilot, key)
            await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
            await type_in(pilot, "enter" if key == "M" else "y")
            if key == "M":
                await type_in(pilot, "y")
            await until(pilot, lambda count=count: len(made.asked) == count)  # type: ignore[misc]
            await until(pilot, lambda: isinstance(app.screen, CertsScreen))
    actions = [(action, params) for action, params, _ in made.asked]
    peer = {"peer": "01950000-0000-7000-8000-000000000001"}
    assert actions == [("system.federation_certificate_rotate", peer), ("system.federation_certificate_mint", peer)]


@pytest.mark.parametrize(
    ("number", "command", "words"),
    [
        (3, "renew-cert", "others renew theirs"),
        (9, "renew-cert", "is over"),
        (2, "mint", "a peer presents"),
        (2, "revoke-cert", "only their operators"),
        (8, "revoke-cert", "cannot be revoked"),
        (10, "revoke-cert", "over already"),
        (5, "probe", "no peer to probe"),
        (6, "revoke-cert", ""),
        (2, "probe", ""),
    ],
)
def test_what_makes_no_sense_says_why(number: int, command: str, words: str) -> None:
    """Each key on each kind of certificate: works, or says in a sentence why not."""
    line = next(one for one in certs() if one.id.endswith(f"{number:012d}"))
    assert (words in CERTS_KIND.refusal(command, line)) if words else CERTS_KIND.refusal(command, line) == ""


@in_loop
async def test_a_probe_shows_its_steps_as_they_come() -> None:
    """Slow or failing, the dialog is there at once, takes Esc, and shows what went wrong with the probe itself."""
    made = node()
    made.probed = RuntimeError("the vault does not open")
    app = console(made, place="certs")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "certs")
        await type_in(pilot, "j")
        await type_in(pilot, "P")
        await until(pilot, lambda: isinstance(app.screen, Probing))
        await until(pilot, lambda: "the vault does not open" in page(pilot))
        await type_in(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, CertsScreen))


def test_a_bar_is_what_is_left() -> None:
    """Full at the beginning, empty at the end, and never more than either, whatever the clock says."""
    line = cert(1)
    begin, end = line.not_before, line.not_after
    assert end is not None
    for moment, share in ((begin, 1.0), (end, 0.0), (begin - timedelta(days=9), 1.0), (end + timedelta(days=9), 0.0)):
        assert certificate_view.fraction_left(line, moment) == share
    assert certificate_view.bar(line, begin).text == certificate_view.FULL * certificate_view.BAR
    assert certificate_view.bar(line, end).text == certificate_view.EMPTY * certificate_view.BAR
    empty = replace(line, not_after=line.not_before)
    assert certificate_view.fraction_left(empty, begin) == 0.0


@in_loop
async def test_on_a_real_node(make_node: Callable[..., Node]) -> None:
    """The node's own CA and server certificate stand there, and open with their chain as a tree."""
    real = make_node()
    app = Console(lambda: real, now=lambda: START, place="certs")
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: getattr(app.screen, "place", "") == "certs")
        await until(pilot, lambda: app.screen.query_one(Window).has_rows)
        assert "● server" in page(pilot)
        assert "● CA" in page(pilot)
        await type_in(pilot, "enter")
        await until(pilot, lambda: app.screen.update() or "└─ CN=alpha.example" in page(pilot))  # type: ignore[attr-defined]
