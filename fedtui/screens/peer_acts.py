"""What an operator can do to peers from the console, as a table: the question, and the act it becomes.

The rules are the core's; what is checked here is only checked earlier, while it is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.words import address

if TYPE_CHECKING:
    from fedtui.core.acts.overview import PeerRecord
    from fedtui.core.peering.listing import PeerLine

    Ask = Callable[[Sequence[PeerLine], PeerRecord | None], Question]

INVITE_LIMIT = 4096
ROLES = ("symmetric", "parent", "child")
MODES = ("autonomous_peer", "managed_child", "cluster_member", "out_of_band")
REASON = Field("reason", "Reason, for the record", check=required)
NOT_PARAMS = ("name", "reason")
"""Answers that are for the dialog, and the reason, which is asked for in an empty field, too."""
WHY = Field("reason", "Reason, for the approver (may be empty)")


@dataclass(frozen=True, slots=True)
class PeerAct:
    """A row: the core's act, what is asked before it, its parameters, and the states it is for.

    `to` names the state that the act leads to: it is offered where the table of transitions
    has a way there. `states` names them outright. Neither: the act needs no peer.
    """

    action: str
    ask: Ask
    doing: str
    done: str
    to: str = ""
    states: tuple[str, ...] = ()
    params: Callable[[Answers], Mapping[str, Any]] = dict
    needs_record: bool = False

    def given(self, answers: Answers, line: PeerLine | None) -> tuple[Mapping[str, Any], str | None]:
        """What to ask the gate for: parameters, and the reason."""
        reason = answers.get("reason", "").strip()
        asked = {key: answer for key, answer in self.params(answers).items() if key not in NOT_PARAMS}
        target = {"peer": line.id} if line is not None else {}
        return {**asked, **target, **({"reason": reason} if reason else {})}, reason or None


def _propose(_lines: Sequence[PeerLine], _record: PeerRecord | None) -> Question:
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


def _accept(_lines: Sequence[PeerLine], _record: PeerRecord | None) -> Question:
    return Question(
        "Accept another platform's invite",
        ("Paste the whole invite. It is checked here first; nothing is sent before it is approved.",),
        "Accept",
        fields=(
            Field("invite", "Invite", hint="fi1...", check=_invite_wrong, tell=_invite_told, limit=INVITE_LIMIT),
            Field("role", "This node is to it", choices=ROLES, value=ROLES[0]),
            Field("mode", "Mode", choices=MODES, value=MODES[0]),
            WHY,
        ),
    )


def _token(lines: Sequence[PeerLine], _record: PeerRecord | None) -> Question:
    return Question(
        "Make an acceptance token",
        ("It admits this peer, once, and is shown once. A token made before ends.",),
        "Make it",
        targets=_names(lines),
        fields=(Field("ttl", "Good for (like 1h or 7d)", value="1h", check=_ttl_wrong),),
    )


def _cancel_token(lines: Sequence[PeerLine], _record: PeerRecord | None) -> Question:
    told = "Whoever holds the token can no longer use it. The peer stays proposed."
    return Question("Cancel the acceptance token", (told,), "Cancel the token", targets=_names(lines))


def _confirm_endpoint(lines: Sequence[PeerLine], record: PeerRecord | None) -> Question:
    declared = [str(one.get("url", "")) for one in record.shape["endpoints"]] if record else []
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


def _suspend(lines: Sequence[PeerLine], _record: PeerRecord | None) -> Question:
    return Question(
        "Suspend " + ("this peer" if len(lines) == 1 else f"{len(lines)} peers"),
        ("Calls from there are turned away at once, and this node stops calling, until an operator resumes it.",),
        "Suspend",
        targets=_names(lines),
        fields=(REASON,),
        dangerous=True,
    )


def _resume(lines: Sequence[PeerLine], _record: PeerRecord | None) -> Question:
    who = "this peer" if len(lines) == 1 else f"{len(lines)} peers"
    told = f"Back to accepted: {'it has' if len(lines) == 1 else 'each has'} to prove itself with a heartbeat."
    return Question(f"Resume {who}", (told,), "Resume", targets=_names(lines))


def _revoke(lines: Sequence[PeerLine], _record: PeerRecord | None) -> Question:
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
                limit=2048,
            ),
        ),
        dangerous=True,
    )


PEER_ACTS: Mapping[str, PeerAct] = {
    "propose": PeerAct("system.federation_peer_propose", _propose, "Proposing", "proposed"),
    "accept": PeerAct("system.federation_peer_accept", _accept, "Accepting", "accepted"),
    "token": PeerAct("system.federation_peer_token", _token, "Making the token", "token made", states=("proposed",),
                     params=lambda answers: {"ttl": _duration(answers["ttl"])}),
    "cancel-token": PeerAct("system.federation_peer_token", _cancel_token, "Cancelling the token", "token cancelled",
                            states=("proposed",), params=lambda _: {"cancel": True}),
    "confirm-endpoint": PeerAct("system.federation_peer_edit", _confirm_endpoint, "Confirming", "endpoint confirmed",
                                states=("accepted", "enrolled", "active", "degraded", "suspended"),
                                needs_record=True),
    "suspend": PeerAct("system.federation_peer_suspend", _suspend, "Suspending", "suspended", to="suspended"),
    "resume": PeerAct("system.federation_peer_resume", _resume, "Resuming", "resumed", states=("suspended",)),
    "revoke": PeerAct("system.federation_peer_revoke", _revoke, "Revoking", "revoked", to="revoked"),
}  # fmt: skip


def question_for(
    name: str, lines: Sequence[PeerLine], record: PeerRecord | None
) -> tuple[Sequence[PeerLine], Question]:
    """Those of the peers that the command is for, and what to ask; the others are named, too."""
    left_out = [line for line in lines if refusal(name, line)]
    fitting = [line for line in lines if line not in left_out]
    if left_out and not fitting:
        return [], Question("", (refusal(name, left_out[0]),), "")
    question = PEER_ACTS[name].ask(fitting, record)
    if left_out:
        told = f"Left out, because of their state: {', '.join(_names(left_out))}"
        question = replace(question, happens=(*question.happens, told))
    return fitting, question


def refusal(name: str, line: PeerLine) -> str:
    """Why a command is not for this peer, in a sentence; empty if it is."""
    from fedtui.core.peering import peers

    if name == "heartbeat":
        states: Sequence[str] = peers.MAY_HEARTBEAT if line.peer_kind == "platform" else ()
    elif name not in PEER_ACTS:
        return ""
    else:
        act = PEER_ACTS[name]
        states = act.states or (peers.sources_of(act.to) if act.to else peers.STATUSES)
    if line.status in states:
        return ""
    return f"This is for a peer that is {' or '.join(states) or 'a platform'}; it is {line.status}."


def _names(lines: Sequence[PeerLine]) -> tuple[str, ...]:
    return tuple(f"{address(line.remote_instance_url)}  ({line.status})" for line in lines)


def _url_wrong(text: str) -> str:
    from fedtui.core.runtime import urls

    return _problem(lambda: urls.normalize(text), "This is needed." if not text.strip() else "")


def _ttl_wrong(text: str) -> str:
    return _problem(lambda: _duration(text))


def _invite_wrong(text: str) -> str:
    from fedtui.core.peering import tokens

    return _problem(lambda: tokens.read_invite(text), "This is needed." if not text.strip() else "")


def _invite_told(text: str) -> str:
    """What an invite says, for its reader to compare."""
    from fedtui.core.peering import tokens

    invite = tokens.read_invite(text)
    pin = (invite.ca_fingerprint or "public CA")[:18]
    return f"from {address(invite.url)}, until {invite.expires_at:%F %H:%M} UTC, CA {pin}…"


def _duration(text: str) -> Any:
    from fedtui.core.runtime import durations

    return durations.parse(text)


def _problem(work: Callable[[], object], instead: str = "") -> str:
    """What is wrong with an answer, in the core's own words."""
    from fedtui.core.errors import Problem

    if instead:
        return instead
    try:
        work()
    except Problem as problem:
        return problem.problem
    return ""
