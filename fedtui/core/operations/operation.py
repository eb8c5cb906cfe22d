"""What an act is: one thing an operator or the manager can do, described as data.

Every change of state goes through an act and the gate (`gate.py`). An act either applies
in one unit (then it is atomic with the record of it) or performs calls to a remote (then it
is written so that running it again finishes what was begun).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.orm import Session

from fedtui.core.operations.form import Form
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.unit import Unit

Params = Mapping[str, Any]
Face = Literal["shell", "console", "mcp"]
BY_PEOPLE_ONLY: Mapping[Face, str] = {"mcp": "It decides who may do what on this node, which a person does."}
Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """An act as asked for, checked: `params` may be shown and stored, `secrets` are only ever sealed."""

    params: Params
    peer_id: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """What a performing act is given: who acts, with what, and as part of which correlation."""

    actor: Actor
    params: Params
    secrets: Mapping[str, str] = field(repr=False)
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that an act changes, for the one who decides: what it is, before, and after ("" is: nothing)."""

    what: str
    before: str
    after: str


def _no_changes(_params: Params, _target: Mapping[str, Any]) -> Sequence[Change]:
    return ()


def _as_it_is(params: Params) -> Params:
    return params


def _as_asked(_site: NodeContext, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return raw


def _no_precondition(_params: Params, _now: datetime) -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """A row of the table.

    `fetch` asks a remote for what the act needs and is not on record, before any unit is open, and adds it to what
    was asked for; `read` checks what was asked for and resolves names to ids; `target` gives those fields of
    what is acted on that the act depends on (None: it is gone); `summary` says in words what
    will happen, `changes` the same as before and after; `recorded` leaves out of the event what
    is too much for it; `precondition` raises when time alone
    has made the act pointless. Exactly one of `apply` and `perform` is set. `shown_once`: the
    result holds a secret, so an approval only permits the act, and the requester carries it out.
    `absent`: why a face does not offer it.
    `forms`: how it is asked for, by the console's name of the command.
    `secret`: it is asked for with a secret, which ends with its request.
    """

    action: str
    read: Callable[[Unit, NodeContext, Mapping[str, Any]], OperationRequest]
    target: Callable[[Session, Params], Mapping[str, Any] | None]
    summary: Callable[[Params, Mapping[str, Any]], str]
    apply: Callable[[Unit, NodeContext, Params], Result] | None = None
    perform: Callable[[NodeContext, Call], Result] | None = None
    changes: Callable[[Params, Mapping[str, Any]], Sequence[Change]] = _no_changes
    recorded: Callable[[Params], Params] = _as_it_is
    precondition: Callable[[Params, datetime], None] = _no_precondition
    fetch: Callable[[NodeContext, Mapping[str, Any]], Mapping[str, Any]] = _as_asked
    forms: Mapping[str, Form] = field(default_factory=dict)
    absent: Mapping[Face, str] = field(default_factory=dict)
    shown_once: bool = False
    secret: bool = False


OperationTable = Mapping[str, Operation]


def join(*tables: tuple[Operation, ...]) -> OperationTable:
    """One table from each package's list. Two acts of one name are a bug and raise."""
    joined = {act.action: act for acts in tables for act in acts}
    if len(joined) != sum(len(acts) for acts in tables):
        raise ValueError("two acts have the same name")
    return joined
