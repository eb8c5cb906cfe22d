"""Tools on incidents, with their transcripts, and on change requests."""

from __future__ import annotations

from fedtui.core.diagnosis import engine, incidents
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import NotFound, Refused
from fedtui.core.governance import change_requests
from fedtui.core.node import Node
from fedtui.mcp.acting import ORIGIN, pending
from fedtui.mcp.parameters import DOCTOR, INCIDENT, LIMIT, REASON, flag, maybe, number, one_of, text
from fedtui.mcp.table import Answer, Given, Tool

BY_CLIENTS = ("system.federation_", "system.inventory_", "system.manager_resume")
"""How the actions begin that the other tools ask for too."""
BY_PEOPLE = ("system.federation_certificate_anchor",)
"""A CA is trusted by whoever has compared its fingerprint over another channel."""
CHANGE_REQUEST = text("A change request: its id, or a unique beginning of it.")


def _list(node: Node, given: Given) -> Answer:
    return {"incidents": node.incidents(open_only=given["open_only"], limit=given["limit"])}


def _show(node: Node, given: Given) -> Answer:
    return node.incident(given["incident"])


def _export(node: Node, given: Given) -> Answer:
    shape = node.incident(given["incident"])
    # In lines: a transcript is longer than what one text of an answer may be.
    return {"id": shape["id"], "markdown_lines": incidents.markdown(shape).splitlines()}


def _open(node: Node, given: Given) -> Answer:
    actor = node.actor(ORIGIN)
    incident = node.begin_incident(actor, DiagnosisTarget(**given))
    return {"incident_id": incident, "doctor": engine.shape(node.look(actor, incident))}


def _look(node: Node, given: Given) -> Answer:
    incident = node.incident(given["incident"])["id"]
    found = node.look(node.actor(ORIGIN), incident, proving=True)
    return {
        "incident_id": incident,
        "state": node.incident(incident)["state"],
        "tried": [f"{one.title}: {one.said}" for one in node.standing(incident).tried],
        "doctor": engine.shape(found),
    }


def _mend(node: Node, given: Given) -> Answer:
    """The fix is one that the checks offer now, never one that the client has put together."""
    actor, incident = node.actor(ORIGIN), node.incident(given["incident"])["id"]
    offered = [one for one in node.look(actor, incident).offered if one.cause.code == given["cause"]]
    fixes = [fix for one in offered for fix in one.sense.fixes]
    if len(fixes) < given["fix"]:
        raise NotFound(
            f"The cause {given['cause'][:60]!r} has no fix {given['fix']} now.",
            cause=f"It has {len(fixes)} now that the checks were run again.",
            fix="Take a cause and one of its fixes from system_sdwan_check_federation_incident.",
            code="fix_not_offered",
        )
    fix = fixes[given["fix"] - 1]
    if fix.action and fix.where == "here" and not _for_a_client(node, fix.action):
        raise Refused(
            f"This is for a person to do: {fix.title}.",
            cause="What is shown once, whom this node trusts, and who may do what, is decided by people.",
            fix=f"Have an operator do it: {fix.command or 'fedtui doctor --guided'}",
            code="for_a_person",
        )
    outcome = node.mend(actor, incident, fix)
    if outcome["outcome"] == "pending":
        return {"incident_id": incident, **pending(node, outcome["approval"])}
    return {"incident_id": incident, **outcome}


def _for_a_client(node: Node, action: str) -> bool:
    """Whether an act may be asked for by a client: as the tools on peers, grants and certificates may."""
    return action.startswith(BY_CLIENTS) and action not in BY_PEOPLE and not node.acts[action].shown_once


def _settle(node: Node, given: Given) -> Answer:
    return node.settle_request(node.actor(ORIGIN), given["change_request"], given["status"], given["reason"])


def _note(node: Node, given: Given) -> Answer:
    node.note_incident(node.actor(ORIGIN), given["incident"], given["text"])
    return {"incident_id": node.incident(given["incident"])["id"], "noted": True}


def _close(node: Node, given: Given) -> Answer:
    node.close_incident(node.actor(ORIGIN), given["incident"], given["outcome"], given.get("reason", ""))
    shape = node.incident(given["incident"])
    return {key: shape[key] for key in ("id", "state", "outcome")}


def _requests(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = change_requests.listing(session, limit=given["limit"])
        shapes = [change_requests.shape(row) for row in found]
    apart = ("body", "evidence")
    return {"change_requests": [{key: one[key] for key in one if key not in apart} for one in shapes]}


def _request(node: Node, given: Given) -> Answer:
    with node.read() as session:
        return change_requests.shape(change_requests.find(session, given["change_request"]))


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="system_sdwan_list_federation_incidents",
        words="Runs of the playbook, open ones first, newest first.",
        takes={"open_only": flag("Only those that are open."), "limit": LIMIT},
        run=_list,
    ),
    Tool(
        name="system_sdwan_get_federation_incident",
        words="One incident with its transcript: what was looked at, found, done and said.",
        takes={"incident": INCIDENT},
        run=_show,
    ),
    Tool(
        name="system_sdwan_export_federation_incident",
        words="One incident as Markdown, without secrets, to hand over.",
        takes={"incident": INCIDENT},
        run=_export,
    ),
    Tool(
        name="system_sdwan_open_federation_incident",
        words="Open an incident and run its checks: what the doctor finds is written down, for people to go on with.",
        takes=DOCTOR,
        run=_open,
        acts=True,
        calls_out=True,
    ),
    Tool(
        name="system_sdwan_check_federation_incident",
        words="Run an incident's checks again, and write down what they find; once every check of what it is about "
        "passes, it ends as fixed; keeps_open says which do not, elsewhere what explains them, and tried what became "
        "of the fixes that were taken up.",
        takes={"incident": INCIDENT},
        run=_look,
        acts=True,
        calls_out=True,
    ),
    Tool(
        name="system_sdwan_mend_federation_incident",
        words="Carry out a fix that an incident's checks offer, through the gate: done, waiting for approval, failed, "
        "or by hand, for a person. Then check the incident again.",
        takes={
            "incident": INCIDENT,
            "cause": text("The cause to mend, as the checks name it.", longest=60),
            "fix": number("Which of its fixes: 1 is the smallest.", default=1, least=1, most=100),
        },
        run=_mend,
        acts=True,
        calls_out=True,
    ),
    Tool(
        name="system_sdwan_note_federation_incident",
        words="Write a note into an incident that is open.",
        takes={"incident": INCIDENT, "text": text("The note.", longest=incidents.NOTE_LIMIT)},
        run=_note,
        acts=True,
    ),
    Tool(
        name="system_sdwan_close_federation_incident",
        words="End an incident.",
        takes={
            "incident": INCIDENT,
            "outcome": one_of("How it ended.", incidents.OUTCOMES, default="explained"),
            "reason": maybe("Why, for the record.", longest=500),
        },
        run=_close,
        acts=True,
    ),
    Tool(
        name="system_sdwan_list_change_requests",
        words="What was handed up to the federation's owner, newest first.",
        takes={"limit": LIMIT},
        run=_requests,
    ),
    Tool(
        name="system_sdwan_get_change_request",
        words="One change request with its evidence; its incident has the transcript.",
        takes={"change_request": CHANGE_REQUEST},
        run=_request,
    ),
    Tool(
        name="system_sdwan_settle_change_request",
        words="Say what became of a change request.",
        takes={
            "change_request": CHANGE_REQUEST,
            "status": one_of("What became of it; open: it is open again.", change_requests.STATUSES, default="done"),
            "reason": REASON,
        },
        run=_settle,
        acts=True,
    ),
)
