"""What-if: why a call is refused, and the smallest change that would let it through.

Each refusal adds to a plan what would answer it: a term of the grant, a bridge, a kind in the
inventory, or words where only the caller can mend it. The plan becomes acts with parameters,
as the gate takes them. That they really let the call through is not assumed, but judged.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.errors import WrongUsage
from fedtui.core.grants import allowlists, bridges, chain, inventory, resources
from fedtui.core.grants.chain import CHAIN, SCOPE_FOR, AccessRequest, AuthorizationContext, AuthorizationResult, WhatIf
from fedtui.core.grants.grants import SCOPES, SHORTEST_TTL, Grant, bearer
from fedtui.core.peers.peers import TERM_ENDED
from fedtui.core.runtime import durations

NOT_GIVEN = "-"
"""The resource id of a described call that names none and whose grant is for all of its kind."""
_DESCRIBED = {
    "node_instance_ids": ("instance the call is made by", "--instance ID"),
    "sdwan_network_ids": ("network the call comes over", "--network ID"),
    "source_cidrs": ("address the call comes from", "--source-ip ADDRESS"),
}
"""What a description may leave out, and the option that says it."""
MOST_GRANTS, MOST_NAMED = 20, 3
"""Grants of a caller that are tried, and that are named."""
ALWAYS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """One change that would help: in words, as a command, and as an act with its parameters.

    `action` is empty where no act of this node makes it: then only the words count. `where` is `there` for what
    only the caller can do. `then` is what is left for people afterwards, with values of the act's result in braces.
    """

    title: str
    command: str = ""
    action: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    where: Literal["here", "there"] = "here"
    then: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A judgement with what would help. `complete`: made together, the changes let the call through."""

    judgement: AuthorizationResult
    changes: tuple[Change, ...]
    complete: bool

    @property
    def fix(self) -> str:
        """The changes in a sentence, with the commands that make them."""
        told = [f"{one.title}: {one.command}" if one.command else one.title for one in self.changes]
        return "; then ".join([*told[:1], *(_lower(one) for one in told[1:])])


@dataclass
class _Plan:
    """What would have to be different. `terms` are columns of the grant; `anew` says that they
    take a new grant, since scopes and what a grant is for stay as issued."""

    supposed: WhatIf
    words: list[Change] = field(default_factory=list)
    terms: dict[str, Any] = field(default_factory=dict)
    anew: str = ""
    renew: bool = False
    beside: list[Change] = field(default_factory=list)

    def then(self) -> WhatIf:
        """What is supposed once the plan is carried out."""
        life: dict[str, Any] = {"expires_at": ALWAYS} if self.renew or self.anew else {}
        life |= {"revoked_at": None, "archived_at": None} if self.anew else {}
        actions = {one.action for one in self.beside}
        return WhatIf(
            {**self.supposed.grant, **self.terms, **life},
            bridge_active=self.supposed.bridge_active or any("bridge" in one for one in actions),
            kind_served=self.supposed.kind_served or "system.inventory_change" in actions,
        )

    def changes(self, grant: Grant | None) -> tuple[Change, ...]:
        """The plan as acts, in the order in which they are to be made."""
        made = list(self.words)
        if grant is not None and self.anew:
            made.append(_issue_anew(grant, self.anew, self.terms))
        elif grant is not None:
            made += [_edit(grant, self.terms)] if self.terms else []
            made += [_renewal(grant)] if self.renew else []
        return (*made, *self.beside)


def explain(session: Session, asked: AccessRequest, *, now: datetime, supposed: WhatIf | None = None) -> Explanation:
    """Judge a call, as things are or as they are supposed, and find the smallest change that would allow it."""
    base = supposed or WhatIf()
    judgement = latest = chain.judge(session, asked, now=now, supposed=base)
    plan = _Plan(base)
    # Each round answers all refusals it sees; what was hidden behind one shows in the next.
    for _ in CHAIN:
        if latest.allowed or plan.words:
            break
        seen = AuthorizationContext(session, asked, now, plan.then())
        for one in latest.results:
            if one.refusal is not None:
                ANSWERS[one.refusal.code](seen, plan)
        latest = chain.judge(session, asked, now=now, supposed=plan.then())
    return Explanation(judgement, plan.changes(AuthorizationContext(session, asked, now).grant), latest.allowed)


Answer = Callable[[AuthorizationContext, _Plan], None]


def _caller(text: str) -> Answer:
    """What only the caller can do."""
    return lambda _seen, plan: plan.words.append(Change(text, where="there"))


def _here(text: str) -> Answer:
    return lambda _seen, plan: plan.words.append(Change(text))


def _own_grant(what: str) -> Answer:
    """What the caller is to send instead: a grant of its own that allows the call, by its bearer, if it has one."""

    def answer(seen: AuthorizationContext, plan: _Plan) -> None:
        if _send_own(seen, plan.supposed, plan, what):
            return
        scope = SCOPE_FOR.get(seen.asked.method, "admin")
        command = f"fedtui grants issue {seen.peer.id if seen.peer else 'PEER'} --subject SUBJECT"
        command += f" --kind {shlex.quote(seen.asked.kind)} --scope {scope}"
        plan.words.append(Change("It has no grant that allows this call. Issue it one, if it is to have one", command))

    return answer


def _send_own(seen: AuthorizationContext, supposed: WhatIf, plan: _Plan, what: str) -> bool:
    """Whether the caller has a grant of its own that allows the call: then it is to send that one."""
    fitting = [bearer(one.id) for one in _in_force(seen) if _allowed_with(seen, supposed, one)]
    if fitting:
        header = f"Authorization: Bearer {' or '.join(fitting[:MOST_NAMED])}"
        plan.words.append(Change(f"Have the caller send {what}", header, where="there"))
    return bool(fitting)


def _in_force(seen: AuthorizationContext) -> Sequence[Grant]:
    """The caller's grants, the newest first."""
    if seen.peer is None:
        return ()
    theirs = select(Grant).where(Grant.peer_id == seen.peer.id, Grant.revoked_at.is_(None))
    return seen.session.scalars(theirs.order_by(Grant.id.desc()).limit(MOST_GRANTS)).all()


def _allowed_with(seen: AuthorizationContext, supposed: WhatIf, grant: Grant) -> bool:
    asked = replace(seen.asked, bearer=bearer(grant.id))
    return chain.judge(seen.session, asked, now=seen.now, supposed=supposed).allowed


def _resume(seen: AuthorizationContext, plan: _Plan) -> None:
    peer = seen.peer
    if peer is None or peer.status != "suspended":
        state = peer.status if peer else "gone"
        plan.words.append(Change(f"The peer is {state}: it must be enrolled, by its heartbeat, first"))
        return
    title = "Resume the peer, which must then prove itself with a heartbeat"
    action = "system.federation_peer_resume"
    plan.words.append(Change(title, f"fedtui peers resume {peer.id}", action, {"peer": peer.id}))


def _extend(seen: AuthorizationContext, plan: _Plan) -> None:
    if seen.peer is not None:
        title = "Agree on a new term with the peer's operators, and record it on both sides"
        new = {"peer": seen.peer.id, "expires": "365d"}
        command = f"fedtui peers edit {seen.peer.id} --expires 365d"
        plan.words.append(Change(title, command, "system.federation_peer_edit", new))


def _renew(_seen: AuthorizationContext, plan: _Plan) -> None:
    plan.renew = True


def _anew(title: str, terms: Callable[[AuthorizationContext], Mapping[str, Any]] = lambda _: {}) -> Answer:
    def answer(seen: AuthorizationContext, plan: _Plan) -> None:
        plan.anew = plan.anew or title
        plan.terms.update(terms(seen))

    return answer


def _resource(seen: AuthorizationContext, plan: _Plan) -> None:
    """A grant for what was asked for, where there can be one."""
    asked = seen.asked
    if _readable(inventory.check_kind, asked.kind) is None or _readable(resources.check_id, asked.resource_id) is None:
        plan.words.append(Change("Have the caller ask for a kind and id that there can be"))
        return
    # That the kind is not served is a refusal of its own, which is answered beside this one.
    if _send_own(seen, replace(plan.supposed, kind_served=True), plan, "the grant that it has for that"):
        return
    unnamed = asked.caller.described and asked.resource_id == NOT_GIVEN
    terms = {"resource_kind": asked.kind, "resource_id": None if unnamed else asked.resource_id}
    _anew("Issue a new grant for that resource", lambda _: terms)(seen, plan)


def _scopes_with_needed(seen: AuthorizationContext) -> Mapping[str, Any]:
    needed = SCOPE_FOR.get(seen.asked.method, "admin")
    held = seen.grant.permission_scopes if seen.grant else ()
    return {"permission_scopes": [one for one in SCOPES if one == needed or one in held]}


def _allow(column: str, supplied: Callable[[AuthorizationContext], str | None]) -> Answer:
    """Add what the caller supplied to an allowlist; where a call that was made supplied nothing
    readable, lift the list. One that is only described may just have left it out."""

    def answer(seen: AuthorizationContext, plan: _Plan) -> None:
        value = supplied(seen)
        listed = getattr(seen.grant, column)
        if value is None and seen.asked.caller.described:
            what, option = _DESCRIBED[column]
            title = f"Say which {what}; the grant allows {allowlists.shown(listed)}"
            plan.words.append(Change(title, f"fedtui grants explain {seen.asked.bearer} {option}"))
            return
        plan.terms[column] = [] if value is None else sorted({*listed, value})

    return answer


def _bridge(seen: AuthorizationContext, plan: _Plan) -> None:
    network, peer_id = _readable(allowlists.network_id, seen.asked.caller.network_id), seen.peer.id if seen.peer else ""
    found = bridges.live(seen.session, peer_id, network) if network else None
    if found is None:
        plan.beside.append(
            Change(
                "Propose a bridge for this peer on that network, then activate it",
                f"fedtui bridges propose {peer_id} {network}",
                "system.federation_bridge_propose",
                {"peer": peer_id, "network": network},
            )
        )
        return
    plan.beside.append(
        Change(
            f"Activate the network bridge, which is {found.status}",
            f"fedtui bridges activate {found.id}",
            "system.federation_bridge_activate",
            {"bridge": found.id},
        )
    )


def _serve(seen: AuthorizationContext, plan: _Plan) -> None:
    kind = seen.asked.kind
    if _readable(inventory.check_kind, kind) is None:
        return  # No grant can be for it either, and that has been said.
    plan.beside.append(
        Change(
            "Declare the kind in this node's inventory",
            f"fedtui inventory add {shlex.quote(kind)}",
            "system.inventory_change",
            {"kind": kind, "served": True},
        )
    )


ANSWERS: Mapping[str, Answer] = {
    "cert_not_presented": _caller("Have the caller present the client certificate that this node signed for it"),
    "cert_unknown": _caller("Have the caller present the certificate that this node signed for it, or peer anew"),
    "cert_wrong_kind": _caller("Have the caller present the certificate that it was given as a peer"),
    "cert_revoked": _caller("Have the caller use its current certificate, or peer anew"),
    "cert_expired": _caller("Have the caller renew its certificate, or peer anew"),
    "peer_missing": _here("Peer anew: propose the caller, and have it accept"),
    "peer_not_reachable": _resume,
    TERM_ENDED: _extend,
    "grant_token_malformed": _own_grant("the bearer of its grant"),
    "grant_token_unknown": _own_grant("a grant of its own"),
    "grant_of_other_peer": _own_grant("a grant of its own"),
    "grant_expired": _renew,
    "grant_revoked": _anew("Issue a new grant like this one"),
    "kind_mismatch": _resource,
    "resource_mismatch": _resource,
    "scope_insufficient": _anew("Issue a new grant with that scope, in place of this one", _scopes_with_needed),
    "instance_not_allowed": _allow("node_instance_ids", lambda seen: _readable(allowlists.instance_id, seen.instance)),
    "network_not_allowed": _allow(
        "sdwan_network_ids", lambda seen: _readable(allowlists.network_id, seen.asked.caller.network_id)
    ),
    "network_bridge_inactive": _bridge,
    "source_ip_not_allowed": _allow("source_cidrs", lambda seen: allowlists.address_cidr(seen.asked.caller.source_ip)),
    "kind_not_served": _serve,
}
"""What answers each refusal (the runbook's fixes, one by one)."""


def _edit(grant: Grant, terms: Mapping[str, Any]) -> Change:
    """An edit of allowlists, in words and options: what is added, or which list is lifted."""
    titles, options = [], []
    for column, entries in terms.items():
        name, added = allowlists.NAMES[column], sorted({*entries} - {*getattr(grant, column)})
        titles.append(
            f"add {name} {', '.join(added)} to the grant"
            if entries
            else f"lift the {name} restriction, which opens the grant to all (the call named no {name};"
            " better have it name an allowed one)"
        )
        options += [f"--add-{name} {one}" for one in added] if entries else [f"--any-{name}"]
    title = " and ".join(titles)
    return Change(
        title[0].upper() + title[1:],
        f"fedtui grants edit {grant.id} {' '.join(options)}",
        "system.federation_grant_edit",
        {"grant": grant.id, **terms},
    )


def _renewal(grant: Grant) -> Change:
    command = f"fedtui grants renew {grant.id}"
    return Change("Renew the grant", command, "system.federation_grant_renew", {"grant": grant.id})


def _issue_anew(grant: Grant, title: str, terms: Mapping[str, Any]) -> Change:
    made = _with_terms(grant, terms)
    params = {
        "peer": grant.peer_id,
        "subject": grant.remote_subject,
        "kind": made["resource_kind"],
        "id": made["resource_id"],
        "scopes": made["permission_scopes"],
        "instances": made["node_instance_ids"],
        "networks": made["sdwan_network_ids"],
        "cidrs": made["source_cidrs"],
        "ttl": durations.show(timedelta(seconds=grant.ttl_seconds)),
        "short_ttl": grant.ttl_seconds < SHORTEST_TTL.total_seconds(),
        "auto_renew": grant.renew_at is not None,
    }
    words = ["fedtui", "grants", "issue", params["peer"], "--subject", params["subject"], "--kind", params["kind"]]
    words += ["--id", params["id"]] if params["id"] else []
    for option, key in (("scope", "scopes"), ("instance", "instances"), ("network", "networks"), ("cidr", "cidrs")):
        words += [word for value in params[key] for word in (f"--{option}", value)]
    words += ["--ttl", params["ttl"]]
    words += [f"--{flag.replace('_', '-')}" for flag in ("short_ttl", "auto_renew") if params[flag]]
    then = "Have the caller send, from now on, Authorization: Bearer {bearer_token}"
    if grant.revoked_at is None and set(grant.permission_scopes) < set(params["scopes"]):
        then += f" - and once it does: fedtui grants revoke {grant.id} --reason replaced"
    return Change(title, shlex.join(words), "system.federation_grant_issue", params, then=then)


def _with_terms(grant: Grant, terms: Mapping[str, Any]) -> dict[str, Any]:
    """What a grant is for, with other terms."""
    columns = ("resource_kind", "resource_id", "permission_scopes", *allowlists.READERS)
    return {column: terms.get(column, getattr(grant, column)) for column in columns}


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _readable(read: Callable[[str], str], value: str | None) -> str | None:
    try:
        return read(value) if value else None
    except WrongUsage:
        return None
