"""What an operator can do to grants from the console, as a table: the question, and the act it becomes.

The rules are the core's; what is checked here is only checked earlier, while it is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.targets import targets
from fedtui.screens.grants.view import LISTS, grant_label, way
from fedtui.screens.peers.actions import problem_of
from fedtui.screens.records.model import RecordAct

if TYPE_CHECKING:
    from fedtui.core.grants.listing import GrantLine
    from fedtui.core.views.node_summary import GrantRecord
    from fedtui.screens.shell.node_handle import NodeHandle

YES_NO = ("no", "yes")
REASON = Field("reason", "Reason, for the record and the approver", check=required)
WHY = Field("reason", "Reason (may be empty)")
MOST_LISTED = 2000
MOST_CUT_SHOWN = 3


def _entries(text: str) -> list[str]:
    """A list as it is typed: entries separated by commas or blanks."""
    return text.replace(",", " ").split()


def _list_field(key: str, label: str, column: str, entries: Sequence[str] = ()) -> Field:
    def wrong(text: str) -> str:
        from fedtui.core.grants import allowlists

        return problem_of(lambda: allowlists.read(column, _entries(text)))

    def told(text: str) -> str:
        count = len(_entries(text))
        return f"{count} allowed" if count else "any: it does not restrict"

    return Field(key, label, ", ".join(entries), check=wrong, tell=told, limit=MOST_LISTED, append=True)


def _lists(line: GrantLine | None = None) -> tuple[Field, ...]:
    return (
        _list_field(
            "node_instance_ids", "Only these instances", "node_instance_ids", line.node_instance_ids if line else ()
        ),
        _list_field(
            "sdwan_network_ids", "Only these networks", "sdwan_network_ids", line.sdwan_network_ids if line else ()
        ),
        _list_field("source_cidrs", "Only from these addresses", "source_cidrs", line.source_cidrs if line else ()),
    )


def _checked(check: Callable[[Any, str], object]) -> Callable[[str], str]:
    """A check by a rule of the core, given its `grants` module; nothing typed is only missing."""

    def wrong(text: str) -> str:
        from fedtui.core.grants import grants

        return problem_of(lambda: check(grants, text.strip()), "" if text.strip() else "This is needed.")

    return wrong


def _kind_wrong(text: str) -> str:
    from fedtui.core.grants import inventory

    return problem_of(lambda: inventory.check_kind(text.strip()), "" if text.strip() else "This is needed.")


def _id_wrong(text: str) -> str:
    from fedtui.core.grants import resources

    return problem_of(lambda: resources.check_id(text.strip())) if text.strip() else ""


def _span(grants: Any, text: str) -> None:
    from fedtui.core.runtime import durations

    grants.check_ttl(durations.parse(text), short=True)


def _issue(_lines: Sequence[GrantLine], _records: Any) -> Question:
    return Question(
        "Issue a grant",
        ("The peer's certificate proves the caller, the grant says what it may use.",),
        "Issue",
        fields=(
            Field("peer", "Peer: its address, or the beginning of its id", check=required, limit=2048),
            Field(
                "subject",
                "Subject: who at the peer",
                hint="backup@platform-b",
                check=_checked(lambda grants, text: grants.check_subject(text)),
            ),
            Field("kind", "Resource kind", check=_kind_wrong),
            Field("id", "Resource id (empty: all of the kind)", check=_id_wrong),
            Field(
                "scopes",
                "Scopes: read, write, admin, migrate",
                "read",
                check=_checked(lambda grants, text: grants.check_scopes(_entries(text))),
            ),
            *_lists(),
            Field("ttl", "For how long (7d to 365d; less is taken as meant)", "30d", check=_checked(_span)),
            Field("auto_renew", "Renews itself, up to 365 days", choices=YES_NO, value="no"),
            WHY,
        ),
    )


def _issue_params(answers: Answers) -> Mapping[str, Any]:
    typed = {key: answer.strip() for key, answer in answers.items()}
    peer = typed["peer"]
    return {
        "peer": f"https://{peer}" if "." in peer and "://" not in peer else peer,
        "subject": typed["subject"],
        "kind": typed["kind"],
        "id": typed["id"] or None,
        "scopes": _entries(typed["scopes"]),
        "instances": _entries(typed["node_instance_ids"]),
        "networks": _entries(typed["sdwan_network_ids"]),
        "cidrs": _entries(typed["source_cidrs"]),
        "ttl": typed["ttl"],
        "short_ttl": True,
        "auto_renew": typed["auto_renew"] == "yes",
    }


def _edit(lines: Sequence[GrantLine], _records: Any) -> Question:
    [line] = lines
    return Question(
        "Edit the grant",
        ("Scopes and resource stay as issued. A list left empty does not restrict.",),
        "Edit",
        targets=targets(lines, grant_label),
        fields=(
            *_lists(line),
            Field(
                "auto_renew", "Renews itself, up to 365 days", choices=YES_NO, value="yes" if line.renew_at else "no"
            ),
            WHY,
        ),
    )


def _edit_params(answers: Answers) -> Mapping[str, Any]:
    lists = ("node_instance_ids", "sdwan_network_ids", "source_cidrs")
    return {
        **{column: _entries(answers[column]) for column in lists},
        "auto_renew": answers["auto_renew"] == "yes",
    }


def _weigh_edit(node: NodeHandle, line: GrantLine, answers: Answers) -> str:
    """What an edit would cut off, by the core's own checks; and what it would open."""
    opened = [label for label, _, column in LISTS if getattr(line, column) and not _entries(answers[column])]
    opens = f"It opens the grant to all {' and '.join(opened)}. " if opened else ""
    return opens + told_cut(node.cut_off(line.id, _edit_params(answers)))


def told_cut(cut: Sequence[Any]) -> str:
    """What was used in the last 30 days and would be refused, in a sentence."""
    if not cut:
        return ""
    ways = [f"{one.times} x {way(_as_mapping(one))}" for one in cut[:MOST_CUT_SHOWN]]
    more = f", and {len(cut) - MOST_CUT_SHOWN} more ways" if len(cut) > MOST_CUT_SHOWN else ""
    return f"It cuts off what was used in the last 30 days: {'; '.join(ways)}{more}."


def _as_mapping(one: Any) -> Mapping[str, Any]:
    return {name: getattr(one, name) for name in ("method", "instance_id", "network_id", "source_ip")}


def _renew(lines: Sequence[GrantLine], _records: Any) -> Question:
    which = "this grant" if len(lines) == 1 else f"{len(lines)} grants"
    told = "Runs anew from now, for as long as it was issued for, also if it has expired."
    return Question(f"Renew {which}", (told,), "Renew", targets=targets(lines, grant_label))


def _revoke(lines: Sequence[GrantLine], records: Mapping[str, GrantRecord]) -> Question:
    which = "this grant" if len(lines) == 1 else f"{len(lines)} grants"
    told = "The next call is refused. There is no way back but a new grant. Another operator has to approve this."

    def cut_off(line: GrantLine) -> list[str]:
        used = records[line.id].used if line.id in records else ()
        ways = "; ".join(f"{one['times']} x {way(one)}" for one in used)
        return [f"It cuts off what was used in the last 30 days: {ways}."] if ways else []

    return Question(
        f"Revoke {which} for good",
        (told,),
        "Revoke",
        targets=targets(lines, grant_label, cut_off),
        fields=(REASON,),
        dangerous=True,
    )


def _not_revoked(line: GrantLine) -> str:
    return "This grant is revoked; that is final." if line.revoked_at is not None else ""


def _act(action: str, ask: Any, doing: str, done: str, **more: Any) -> RecordAct[GrantLine]:
    return RecordAct(
        action=f"system.federation_grant_{action}", target="grant", ask=ask, doing=doing, done=done, **more
    )


GRANT_ACTS: Mapping[str, RecordAct[GrantLine]] = {
    "issue": _act(
        "issue",
        _issue,
        "Issuing",
        "issued",
        params=_issue_params,
        told=lambda outcome: f"Issued: {outcome.result['bearer_token']}",
    ),
    "edit": _act("edit", _edit, "Editing", "edited", params=_edit_params, fits=_not_revoked, weigh=_weigh_edit),
    "renew": _act("renew", _renew, "Renewing", "renewed", fits=_not_revoked),
    "revoke-grant": _act("revoke", _revoke, "Revoking", "revoked", fits=_not_revoked, needs_records=True),
}
