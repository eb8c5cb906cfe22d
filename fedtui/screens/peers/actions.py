"""What an operator can do to peers from the console, as a table: the question, and the act it becomes.

The rules are the core's; what is checked here is only checked earlier, while it is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.targets import Target, targets
from fedtui.screens.peers.columns import address
from fedtui.screens.records.model import RecordAct
from fedtui.screens.shell.commands import with_keys

if TYPE_CHECKING:
    from fedtui.core.peers.listing import PeerLine
    from fedtui.core.views.node_summary import PeerRecord

Records = Mapping[str, "PeerRecord"]
INVITE_LIMIT = 4096
ROLES = ("symmetric", "parent", "child")
MODES = ("autonomous_peer", "managed_child", "cluster_member", "out_of_band")
REASON = Field("reason", "Reason, for the record", check=required)
WHY = Field("reason", "Reason, for the approver (may be empty)")


def _propose(_lines: Sequence[PeerLine], _records: Records) -> Question:
    return Question(
        "Propose to peer with a platform",
        ("Nothing is sent. Once it is approved, you make a token and hand the invite to the other side.",),
        "Propose",
        fields=(
            Field("url", "Its URL", hint="https://platform-b.example.com", check=_url_wrong, limit=2048),
            Field("role", "This node is to it", choices=ROLES, value=ROLES[0]),
            Field("mode", "Mode", choices=MODES, value=MODES[0]),
            WHY,
        ),
    )


def _accept(_lines: Sequence[PeerLine], _records: Records) -> Question:
    return Question(
        "Accept another platform's invite",
        ("Paste the whole invite. It is checked here first; nothing is sent before it is approved.",),
        "Accept",
        fields=(
            Field(
                "invite",
                "Invite",
                hint="fi1...",
                check=_invite_wrong,
                tell=_invite_told,
                pasted=_invite_pasted,
                limit=INVITE_LIMIT,
            ),
            Field("role", "This node is to it", choices=ROLES, value=ROLES[0]),
            Field("mode", "Mode", choices=MODES, value=MODES[0]),
            WHY,
        ),
    )


def _token(lines: Sequence[PeerLine], _records: Records) -> Question:
    return Question(
        "Make an acceptance token",
        ("It admits this peer, once, and is shown once. A token made before ends.",),
        "Make it",
        targets=_names(lines),
        fields=(Field("ttl", "Good for (like 1h or 7d)", value="1h", check=_ttl_wrong),),
    )


def _cancel_token(lines: Sequence[PeerLine], _records: Records) -> Question:
    told = "Whoever holds the token can no longer use it. The peer stays proposed."
    return Question("Cancel the acceptance token", (told,), "Cancel the token", targets=_names(lines))


def _confirm_endpoint(lines: Sequence[PeerLine], records: Records) -> Question:
    record = records.get(lines[0].id) if lines else None
    declared = [str(one.get("url", "")) for one in record.shape["endpoints"] if isinstance(one, dict)] if record else []
    open_ = tuple(url for url in declared if record and url.rstrip("/") not in record.dialled and url)
    if not open_:
        told = "It declares no endpoint that waits for confirmation." if declared else "It declares no endpoints."
        return Question("Confirm an endpoint", (told,), "", targets=_names(lines))
    return Question(
        "Confirm an endpoint",
        ("This node will then call the peer there, too. Confirm only an address you know to be the peer's.",),
        "Confirm it",
        targets=_names(lines),
        fields=(Field("confirm_endpoint", "Endpoint (Left, Right)", choices=open_, value=open_[0]),),
    )


def _suspend(lines: Sequence[PeerLine], _records: Records) -> Question:
    return Question(
        "Suspend " + ("this peer" if len(lines) == 1 else f"{len(lines)} peers"),
        ("Calls from there are turned away at once, and this node stops calling, until an operator resumes it.",),
        "Suspend",
        targets=_names(lines),
        fields=(REASON,),
        dangerous=True,
    )


def _resume(lines: Sequence[PeerLine], _records: Records) -> Question:
    who = "this peer" if len(lines) == 1 else f"{len(lines)} peers"
    told = f"Back to accepted: {'it has' if len(lines) == 1 else 'each has'} to prove itself with a heartbeat."
    return Question(f"Resume {who}", (told,), "Resume", targets=_names(lines))


def _revoke(lines: Sequence[PeerLine], _records: Records) -> Question:
    [line] = lines
    name = address(line.remote_instance_url)
    return Question(
        "Revoke this peer for good",
        (
            "Its certificates and tokens end at once. There is no way back: to federate again, "
            "it must be proposed anew. Another operator has to approve this.",
        ),
        "Revoke",
        targets=_names(lines),
        fields=(
            REASON,
            Field(
                "name",
                f"Type its address, {name}, to go on",
                check=lambda typed: "" if typed.strip() == name else "This is not its address.",
                anew=True,
                limit=2048,
            ),
        ),
        dangerous=True,
    )


def _act(action: str, ask: Any, doing: str, done: str, **more: Any) -> RecordAct[PeerLine]:
    return RecordAct(action=f"system.federation_peer_{action}", target="peer", ask=ask, doing=doing, done=done, **more)


def in_states(*states: str) -> Callable[[PeerLine], str]:
    """For peers in these states."""
    return lambda line: _state_refusal(line, states)


def on_the_way_to(state: str) -> Callable[[PeerLine], str]:
    """For peers from whose state the table of transitions has a way there."""

    def fits(line: PeerLine) -> str:
        from fedtui.core.peers import peers

        return _state_refusal(line, peers.sources_of(state))

    return fits


def takes_heartbeats(line: PeerLine) -> str:
    """For platforms that are past being proposed."""
    from fedtui.core.peers import peers

    return _state_refusal(line, peers.MAY_HEARTBEAT if line.peer_kind == "platform" else ())


def _state_refusal(line: PeerLine, states: Sequence[str]) -> str:
    if line.status in states:
        return ""
    return f"This is for a peer that is {' or '.join(states) or 'a platform'}; it is {line.status}."


PEER_ACTS: Mapping[str, RecordAct[PeerLine]] = {
    "propose": _act(
        "propose",
        _propose,
        "Proposing",
        "proposed",
        told=lambda _: with_keys("Proposed. With the cursor on the peer, {token} creates its invite."),
    ),
    "accept": _act("accept", _accept, "Accepting", "accepted"),
    "token": _act(
        "token",
        _token,
        "Making the token",
        "token made",
        fits=in_states("proposed"),
        params=lambda answers: {"ttl": _duration(answers["ttl"])},
    ),
    "cancel-token": _act(
        "token",
        _cancel_token,
        "Cancelling the token",
        "token cancelled",
        fits=in_states("proposed"),
        params=lambda _: {"cancel": True},
    ),
    "confirm-endpoint": _act(
        "edit",
        _confirm_endpoint,
        "Confirming",
        "endpoint confirmed",
        needs_records=True,
        fits=in_states("accepted", "enrolled", "active", "degraded", "suspended"),
    ),
    "suspend": _act("suspend", _suspend, "Suspending", "suspended", fits=on_the_way_to("suspended")),
    "resume": _act("resume", _resume, "Resuming", "resumed", fits=in_states("suspended")),
    "revoke": _act("revoke", _revoke, "Revoking", "revoked", fits=on_the_way_to("revoked")),
}


def peer_label(line: PeerLine) -> str:
    """A peer among others: its address and its state."""
    return f"{address(line.remote_instance_url)}  ({line.status})"


def _names(lines: Sequence[PeerLine]) -> tuple[Target, ...]:
    return targets(lines, peer_label)


def _url_wrong(text: str) -> str:
    from fedtui.core.runtime import urls

    return problem_of(lambda: urls.secure(text), "This is needed." if not text.strip() else "")


def _ttl_wrong(text: str) -> str:
    return problem_of(lambda: _duration(text))


def _invite_wrong(text: str) -> str:
    from fedtui.core.peers import tokens

    return problem_of(lambda: tokens.read_invite(text), "This is needed." if not text.strip() else "")


def _invite_pasted(text: str) -> str:
    """A paste without line breaks and frames, also where the terminal can show ASCII only."""
    from fedtui.core.peers import tokens

    return tokens.bare_text(text)


def _invite_told(text: str) -> str:
    """What an invite says, for its reader to compare."""
    from fedtui.core.peers import tokens

    invite = tokens.read_invite(text)
    pin = (invite.ca_fingerprint or "public CA")[:18]
    return f"from {address(invite.url)}, until {invite.expires_at:%F %H:%M} UTC, CA {pin}…"


def _duration(text: str) -> Any:
    from fedtui.core.runtime import durations

    return durations.parse(text)


def problem_of(work: Callable[[], object], instead: str = "") -> str:
    """What is wrong with an answer, in the core's own words."""
    from fedtui.core.errors import Problem

    if instead:
        return instead
    try:
        work()
    except Problem as problem:
        return problem.problem
    return ""
