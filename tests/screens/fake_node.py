"""A node in memory, with the shape the screens rely on: peers in a list, changes by a counter."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from textual import events
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.administration import operators
from fedtui.core.certificates.listing import Urgent
from fedtui.core.diagnosis.dashboard import BUCKETS, Dashboard, Denials
from fedtui.core.node import OPERATIONS
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.form import Form
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import peers
from fedtui.core.peers.listing import SORTS, PeerLine, key
from fedtui.core.views.node_summary import Overview, PeerRecord
from fedtui.screens.node.lists import LISTS
from fedtui.screens.shell.frame import Frame
from fedtui.screens.shell.node_handle import NodeHandle
from fedtui.screens.widgets.reading import Key, Query
from fedtui.screens.widgets.window import Window

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


INVITE = "fi1" + "abcdefghijklmnopqrstuvwxyz234567" * 6
EVERYTHING = frozenset(operators.PERMISSIONS)
SEEN = Overview(node_id="n-1", permissions=EVERYTHING, manager_paused=False, drill_mode=False, waiting=0, daemons=1)


CALM = Dashboard(
    lease_holder="host:1:abcd",
    paused_by=None,
    late=(),
    peers={"active": 2},
    troubled=(),
    troubled_count=0,
    approvals=(),
    approvals_open=0,
    certificates=(),
    urgent=Urgent(0, 0, 0),
    incidents=(),
    incidents_open=0,
    findings=(),
    findings_open={"critical": 0, "high": 0, "medium": 0, "low": 0},
    heartbeats=(2.0,) * BUCKETS,
    heard=2,
    denials=Denials(),
    certificates_held=4,
    checked_at=NOW,
)
"""Nothing is wrong, and nothing needs anybody."""


@dataclass(frozen=True)
class FakeSettings:
    """The one setting the screens show."""

    stale_after: timedelta = timedelta(minutes=5)


class FakeNode:
    """Peers in memory. `put` and `drop` are another process's commits; `broken` makes every read fail."""

    def __init__(self, lines: Sequence[PeerLine] = (), *, name: str = "alpha") -> None:
        self.name = name
        self.url = f"https://{name}.example.org:8443"
        self.operator = "alice"
        self.settings = FakeSettings()
        self.peers = {line.id: line for line in lines}
        self.version = 1
        self.broken: Exception | None = None
        self.delay = 0.0
        self.reads = 0
        self.closed = False
        self.order = Order(self)
        self.seen = SEEN
        self.glance = CALM
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        self.refuses: Exception | None = None
        self.heartbeat_fails: str | None = None
        self.others: dict[str, dict[str, Any]] = {}
        """Records of other places than peers, by place and id."""
        self.records: dict[str, Any] = {}
        self.cut: list[Any] = []
        self.preferred: dict[str, Any] = {}
        self.explained: Any = None
        self.probed: Any = None
        self.incident_shapes: list[dict[str, Any]] = []
        self.stands: Any = None
        self.diagnosed: Any = None
        self.held: threading.Event | None = None
        """What an act waits for, where the test wants it slow; `reading`, what a read waits for."""
        self.reading: threading.Event | None = None

    def actor(self, origin: str) -> str:
        """Who acts."""
        return f"{self.operator} via {origin}"

    def request(self, actor: str, action: str, params: dict[str, Any], *, reason: str | None = None) -> Done | Pending:
        """The gate: what trusts asks, suspending and resuming are done at once; all of it is kept in `asked`."""
        time.sleep(self.delay)
        if self.held is not None:
            self.held.wait(20)
        self.asked.append((action, dict(params), reason))
        if self.refuses is not None:
            raise self.refuses
        what = action.rpartition("_")[2]
        if what in ("propose", "accept", "revoke"):
            return Pending(Approval(id="01950000-0000-7000-9000-00000000000a", expires_at=NOW + timedelta(hours=4)))
        if what in ("suspend", "resume") and "peer" in params:
            self.change(params["peer"], status={"suspend": "suspended", "resume": "accepted"}[what])
        if what == "token" and not params.get("cancel"):
            return Done({"acceptance_token": "ft1token", "invite": INVITE, "expires_at": NOW + timedelta(hours=1)})
        return Done({"peer_id": params.get("peer")})

    def overview(self) -> Overview:
        """The node at a glance."""
        if self.broken is not None:
            raise self.broken
        return self.seen

    def home(self) -> Dashboard:
        """What needs somebody, as the test has it."""
        with self.read():
            return self.glance

    def form(self, action: str, name: str) -> Form:
        """As the operation declares it."""
        return OPERATIONS[action].forms[name]

    def rows_of(self, name: str) -> list[dict[str, Any]]:
        """One row of each list, whose cells say what they are."""
        rows = {"inventory": {"kind": "doc", "added_by": "alice"}}
        return [rows.get(name, {column: column for column in LISTS[name].columns})]

    def operators(self) -> list[dict[str, Any]]:
        """Alice, who may do everything, and Bob."""
        return [
            {"name": "alice", "permissions": sorted(EVERYTHING)},
            {"name": "bob", "permissions": [operators.CONTROL]},
        ]

    def lowerings(self) -> list[dict[str, Any]]:
        """One, of a policy under which Bob has proposed a peer."""
        act = {"at": NOW, "actor": "bob", "params": {"url": "https://hasty.example"}}
        return [
            {
                "id": "l-1",
                "action": "system.federation_peer_propose",
                "lowered_at": NOW,
                "lowered_by": "bob",
                "reason": "fire",
                "confirmed_at": None,
                "went_through": [act],
            }
        ]

    def preferences(self) -> dict[str, Any]:
        """What was preferred before."""
        return dict(self.preferred)

    def prefer(self, actor: str, given: dict[str, Any]) -> None:
        """Keep preferences."""
        if self.refuses is not None:
            raise self.refuses
        self.preferred.update(given)
        self.preferred = {key: value for key, value in self.preferred.items() if value is not None}

    def peer_record(self, peer_id: str) -> PeerRecord | None:
        """A peer in full."""
        return record(self.peers[peer_id]) if peer_id in self.peers else None

    def heartbeat_now(self, actor: str, peer_id: str) -> str | None:
        """Send a heartbeat: None, or why it failed."""
        time.sleep(self.delay)
        return self.heartbeat_fails

    def grant_record(self, grant_id: str) -> Any:
        """A grant in full."""
        return self.records.get(grant_id)

    def event_record(self, event_id: str) -> Any:
        """What the same act caused besides."""
        return self.records.get(event_id)

    def scan_governance(self, actor: str) -> dict[str, Any]:
        """A scan that finds one thing."""
        self.asked.append(("scan", {}, None))
        if self.refuses is not None:
            raise self.refuses
        return {"appeared": 1, "gone": 2, "open": {"high": 3}}

    def acknowledge_finding(self, actor: str, wanted: str, reason: str, span: timedelta) -> Done:
        """An acknowledgement, kept in `asked`."""
        self.asked.append(("acknowledge", {"id": wanted, "span": span}, reason))
        if self.refuses is not None:
            raise self.refuses
        return Done({})

    def approval_record(self, approval_id: str) -> Any:
        """A request in full."""
        return self.records.get(approval_id)

    def certificate_record(self, id: str) -> Any:
        """A certificate in full."""
        return self.records.get(id)

    def probe(self, wanted: str, tell: Callable[[Any], object]) -> Any:
        """A probe: the steps of the report that the test gives, told one by one."""
        time.sleep(self.delay)
        if isinstance(self.probed, Exception):
            raise self.probed
        for step in self.probed.steps:
            tell(step)
        return self.probed

    def incidents(self, *, open_only: bool = False, limit: int = 100) -> list[dict[str, Any]]:
        """The incidents that the test gives."""
        return self.incident_shapes[:limit]

    def open_incidents(self) -> int:
        """How many of them are open."""
        return sum(one.get("outcome") is None for one in self.incident_shapes)

    def begin_incident(self, actor: str, wanted: Any) -> str:
        """Open the test's incident."""
        self.asked.append(("begin_incident", {"wanted": wanted}, None))
        return str(self.incident_shapes[0]["id"])

    def incident(self, wanted: str) -> dict[str, Any]:
        """The test's incident."""
        return {"transcript": [], **self.incident_shapes[0]}

    def surroundings(self, incident_id: str) -> dict[str, Any]:
        """One event, and one finding."""
        event = {"at": NOW, "kind": "federation.peer.heartbeat_stale", "severity": "medium", "actor": "job"}
        return {"events": [event], "findings": [{"kind": "peer_heartbeat_stale", "severity": "medium", "said": "…"}]}

    def standing(self, incident_id: str) -> Any:
        """Where the test says that it stands."""
        return self.stands

    def look(self, actor: str, incident_id: str, tell: Callable[[Any], object], **_options: Any) -> Any:
        """The diagnosis that the test gives, told check by check."""
        return self.diagnose(None, tell)

    def diagnose(self, wanted: Any, tell: Callable[[Any], object]) -> Any:
        """The diagnosis that the test gives."""
        for seen in self.diagnosed.seen:
            tell(seen)
        return self.diagnosed

    def preview(self, actor: str, fix: Any) -> list[str]:
        """What a fix would change: one thing."""
        return ["https://bravo.example.org: degraded → suspended"]

    def recognise(self, text: str) -> Any:
        """Nothing is known to a fake node."""
        return None

    def cut_off(self, grant_id: str, edit: dict[str, Any] | None) -> list[Any]:
        """What an edit would cut off: whatever the test says, where it restricts at all."""
        return self.cut if edit and any(value for key, value in edit.items() if key != "auto_renew") else []

    def explain(self, described: Any, **_options: Any) -> Any:
        """Why a call is refused: as the test says."""
        return self.explained

    def put(self, *lines: PeerLine) -> None:
        """Commit new or changed peers."""
        self.peers = self.peers | {line.id: line for line in lines}
        self.version += 1

    def drop(self, *ids: str) -> None:
        """Commit that these peers are gone."""
        self.peers = {id: peer for id, peer in self.peers.items() if id not in ids}
        self.version += 1

    def change(self, id: str, **fields: Any) -> None:
        """Commit new values of one peer."""
        self.put(replace(self.peers[id], **fields))

    @contextmanager
    def read(self) -> Iterator[None]:
        """A read, as slow or as broken as the test wants it."""
        self.reads += 1
        if self.reading is not None:
            self.reading.wait(20)
        time.sleep(self.delay)
        if self.broken is not None:
            raise self.broken
        yield

    def changes(self) -> FakeChanges:
        """The change counter."""
        return FakeChanges(self)

    def close(self) -> None:
        """Remember to have been closed."""
        self.closed = True


@dataclass
class FakeChanges:
    """Whether the node's version moved."""

    node: FakeNode
    seen: int = 0

    def poll(self) -> bool:
        """Whether anything was committed since the last call."""
        if self.node.broken is not None:
            raise self.node.broken
        changed = self.seen != self.node.version
        self.seen = self.node.version
        return changed


@dataclass
class Order:
    """The peers in the order of a query, sorted once per version."""

    node: FakeNode
    cache: dict[Query, tuple[int, list[Key], list[PeerLine]]] = field(default_factory=dict)

    def of(self, query: Query) -> tuple[list[Key], list[PeerLine]]:
        """Keys and lines, in order."""
        version, keys, lines = self.cache.get(query, (0, [], []))
        if version != self.node.version:
            found = (line for line in self.node.peers.values() if matches(line, query))
            lines = sorted(found, key=lambda line: key(line, query.sort))
            keys = [key(line, query.sort) for line in lines]
            self.cache[query] = (self.node.version, keys, lines)
        return keys, lines


class FakeSource:
    """The peers of a `FakeNode`, as the table reads them."""

    sorts: Sequence[str] = SORTS

    def __init__(self, node: NodeHandle) -> None:
        assert isinstance(node, FakeNode)
        self.node = node
        self._changes = node.changes()

    def changed(self) -> bool:
        return self._changes.poll()

    def key(self, query: Query, row: PeerLine) -> Key:
        return key(row, query.sort)

    @contextmanager
    def reading(self) -> Iterator[FakeSource]:
        with self.node.read():
            yield self

    def find(self, query: Query, id: str) -> PeerLine | None:
        line = self.node.peers.get(id)
        return line if line is not None and matches(line, query) else None

    def page(
        self,
        query: Query,
        *,
        after: Key | None = None,
        before: Key | None = None,
        offset: int = 0,
        limit: int,
    ) -> Sequence[PeerLine]:
        keys, lines = self.node.order.of(query)
        if before is not None:
            end = bisect_left(keys, before)
            return lines[max(end - limit, 0) : end]
        if after is not None:
            place = bisect_left(keys, after)
            offset = place + (place < len(keys) and keys[place] == after)
        return lines[offset : offset + limit]

    def rank(self, query: Query, key: Key) -> int:
        return bisect_left(self.node.order.of(query)[0], key)

    def count(self, query: Query) -> int:
        return len(self.node.order.of(query)[0])

    def starting_with(self, beginning: str) -> Sequence[PeerLine]:
        with self.node.read():
            return [line for id, line in self.node.peers.items() if id.startswith(beginning)][:2]

    def lines(self, ids: Sequence[str]) -> Sequence[PeerLine]:
        with self.node.read():
            return [self.node.peers[id] for id in ids if id in self.node.peers]


class OtherSource(FakeSource):
    """A few records of another place, in the order in which the test put them."""

    sorts: Sequence[str] = ("given",)

    def __init__(self, node: NodeHandle, place: str) -> None:
        super().__init__(node)
        self.records = list(self.node.others.get(place, {}).values())

    def key(self, query: Query, row: Any) -> Key:
        return (self.records.index(row),)

    def find(self, query: Query, id: str) -> Any:
        return next(iter(self.lines([id])), None)

    def page(
        self, query: Query, *, after: Key | None = None, before: Key | None = None, offset: int = 0, limit: int
    ) -> Sequence[Any]:
        if before is not None:
            return self.records[: before[0]][-limit:]  # type: ignore[misc]
        start = offset if after is None else after[0] + 1  # type: ignore[operator]
        return self.records[start : start + limit]

    def rank(self, query: Query, key: Key) -> int:
        return int(key[0])  # type: ignore[call-overload,no-any-return]

    def count(self, query: Query) -> int:
        return len(self.records)

    def starting_with(self, beginning: str) -> Sequence[Any]:
        return [line for line in self.records if line.id.startswith(beginning)][:2]

    def lines(self, ids: Sequence[str]) -> Sequence[Any]:
        return [line for id in ids for line in self.records if line.id == id]


def fake_source(node: NodeHandle, place: str) -> FakeSource:
    """The records of a place."""
    return FakeSource(node) if place == "peers" else OtherSource(node, place)


def matches(line: PeerLine, query: Query) -> bool:
    """Whether the filter leaves this line in."""
    found = any(query.text.lower() in str(value).lower() for value in (line.remote_instance_url, line.status, line.id))
    return not query.text or found != query.invert


def console(node: FakeNode, **options: Any) -> Console:
    """A console on `node`, its clock standing at `NOW` unless told otherwise."""
    app = Console(lambda: node, **{"now": lambda: NOW, **options})
    app.shared.source_of = fake_source
    return app


def peer(number: int, url: str = "", status: str = "active", **fields: Any) -> PeerLine:
    """A peer with a recognisable id, healthy unless told otherwise."""
    values: dict[str, Any] = {
        "id": f"01950000-0000-7000-8000-{number:012d}",
        "remote_instance_url": url or f"https://peer-{number:06d}.example.org",
        "peer_kind": "platform",
        "spawn_role": "symmetric",
        "spawn_mode": "autonomous_peer",
        "status": status,
        "drill_mode": False,
        "last_heartbeat_at": NOW - timedelta(minutes=1, seconds=12),
        "last_outbound_at": NOW - timedelta(seconds=20),
        "last_outbound_error": None,
        "certificate_expires_at": NOW + timedelta(days=73, hours=6),
        "metadata": {},
        "created_at": NOW - timedelta(days=20),
        "updated_at": NOW - timedelta(minutes=1),
    }
    return PeerLine(**{**values, **fields})


def record(line: PeerLine) -> PeerRecord:
    """A peer in full, as its line has it and with a little of everything."""
    values = {name: getattr(line, name) for name in line.__dataclass_fields__}
    url = line.remote_instance_url
    certificate = {"direction": "inbound", "revoked_at": None, "not_after": NOW + timedelta(days=73, hours=6)}
    shape = values | {
        "can_become": list(peers.TRANSITIONS.get(line.status, ())),
        "endpoints": [
            {"url": url, "scope": "wan", "priority": 10},
            {"url": "https://10.1.2.3:8443", "scope": "lan", "priority": 1},
        ],
        "confirmed_endpoints": [],
        "capabilities": {"sdwan": True, "grants": 2},
        "extension_slugs": ["backup", "dns"],
        "platform_version": "4.2.0",
        "data_residency": "EU",
        "operator_contact": "noc@example.org",
        "signed_at": NOW - timedelta(days=16),
        "last_handshake_at": NOW - timedelta(days=16),
        "clock_skew_seconds": 3.4,
        "maintenance_until": None,
        "term_ends_at": None,
        "pair": "complete" if line.certificate_expires_at else "none",
    }
    return PeerRecord(
        shape=shape,
        dialled=(url,),
        token_state="issued" if line.status == "proposed" else "used",
        token_expires_at=NOW + timedelta(hours=1),
        certificates=[
            certificate | {"serial": "6f0a11c2d3e4f506aabb"},
            certificate | {"direction": "outbound", "serial": "11aa22bb33cc44dd55ee"},
        ],
        events=[
            {
                "kind": "federation.peer.heartbeat_stale",
                "severity": "medium",
                "actor": "federation_heartbeat_sweep",
                "emitted_at": NOW - timedelta(minutes=7),
            },
            {
                "kind": "federation.peer.accepted",
                "severity": "low",
                "actor": "accept_controller",
                "emitted_at": NOW - timedelta(days=16),
            },
        ],
    )


NEVER = {"last_heartbeat_at": None, "last_outbound_at": None, "certificate_expires_at": None}


def zoo() -> list[PeerLine]:
    """One peer in each state, and the odd ones."""
    return [
        peer(1, "https://bravo.example.org", last_heartbeat_at=NOW - timedelta(seconds=12)),
        peer(
            2,
            "https://charlie.example.org:8443",
            "degraded",
            last_heartbeat_at=NOW - timedelta(minutes=12),
            last_outbound_at=NOW - timedelta(minutes=13),
            last_outbound_error="remote_refused: nothing listens on charlie.example.org:8443",
            metadata={"degraded_reason": "heartbeat stale (>5 minutes)"},
        ),
        peer(3, "https://delta.example.org", "proposed", spawn_role="parent", **NEVER),
        peer(4, "https://echo.example.org", "accepted", spawn_role="child", last_heartbeat_at=None),
        peer(5, "https://foxtrot.example.org", "enrolled", certificate_expires_at=NOW + timedelta(days=89)),
        peer(
            6,
            "https://golf.example.org",
            "suspended",
            last_heartbeat_at=NOW - timedelta(hours=30),
            metadata={"suspension_reason": "moving to another data centre"},
        ),
        peer(
            7,
            "https://hotel.example.org",
            "revoked",
            last_heartbeat_at=NOW - timedelta(days=40),
            certificate_expires_at=NOW - timedelta(days=3),
            metadata={"revocation_reason": "contract ended"},
        ),
        peer(8, "https://drill.example.org", "proposed", drill_mode=True, **NEVER),
        peer(9, "https://india.example.org", certificate_expires_at=NOW + timedelta(days=9, hours=5)),
        peer(10, "https://juliett.example.org", certificate_expires_at=NOW - timedelta(hours=2)),
        peer(11, "https://kilo.example.org", last_outbound_error="remote_timeout: no answer within 10 s"),
        peer(
            12,
            "https://a-platform-with-a-remarkably-long-name.federation.example.org:18443",
            spawn_mode="cluster_member",
        ),
        peer(13, "https://lima.example.org", "accepted", peer_kind="sdwan_only", spawn_role=None, **NEVER),
        peer(14, "https://\x1b]0;pwned\x07\u202eevil.example.org", metadata={}),
    ]


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in an event loop of its own."""

    @wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        asyncio.run(test(*args, **fixtures))

    return run


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Let the console go on until `condition` holds; fails the test if it does not. How long says nothing of speed."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the console did not get there in time"
        await pilot.pause(0.01)
    await pilot.pause()


async def type_in(pilot: Pilot[None], *keys: str) -> None:
    """Press keys; what begins with `text:` goes in as one paste, which is quicker than letters."""
    for one in keys:
        if one.startswith("text:"):
            pilot.app.post_message(events.Paste(one.removeprefix("text:")))
        else:
            await pilot.press(one)


def table(pilot: Pilot[None]) -> Window[PeerLine]:
    """The table of the Peers screen, wherever that is in the stack."""
    return pilot.app.screen_stack[0].query_one(Window)


async def settled(pilot: Pilot[None]) -> None:
    """Wait until the table and the band show what is there, or why not."""
    console = pilot.app
    assert isinstance(console, Console)
    shared = console.shared
    await until(pilot, lambda: console.screen_stack[0].query(Window))
    window = table(pilot)
    await until(pilot, lambda: (window.position and shared.overview) or shared.pulse.trouble is not None)
    if isinstance(console.screen, Frame):
        console.screen.update()
    await pilot.pause()


def shown(pilot: Pilot[None]) -> list[str]:
    """The lines on the screen, as text without trailing blanks."""
    return [
        "".join(segment.text for segment in strip).rstrip() for strip in pilot.app.screen._compositor.render_strips()
    ]


def cursor_url(pilot: Pilot[None]) -> str | None:
    """The URL of the peer under the cursor."""
    row = table(pilot).current
    return None if row is None else row.remote_instance_url


def rows(pilot: Pilot[None]) -> list[str]:
    """The lines of the table beneath its heading, as text."""
    place = table(pilot).region
    return shown(pilot)[place.y + 1 : place.bottom]


def trail(pilot: Pilot[None]) -> str:
    """The line that says where one is."""
    top = [screen for screen in pilot.app.screen_stack if isinstance(screen, Frame)][-1]
    return shown(pilot)[top.query_one("#trail").region.y]


def page(pilot: Pilot[None]) -> str:
    """All that is on the screen, every run of blanks as one, without the sides of boxes."""
    return " ".join(re.sub("[│┃]", " ", " ".join(shown(pilot))).split())
