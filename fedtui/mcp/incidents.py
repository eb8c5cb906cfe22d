"""Tools on incidents, with their transcripts, and on change requests."""

from __future__ import annotations

from fedtui.core.governance import change_requests
from fedtui.core.node import Node
from fedtui.core.playbook import incidents
from fedtui.mcp.acting import ORIGIN
from fedtui.mcp.parameters import INCIDENT, LIMIT, flag, maybe, one_of, text
from fedtui.mcp.table import Answer, Given, Tool


def _list(node: Node, given: Given) -> Answer:
    return {"incidents": node.incidents(open_only=given["open_only"], limit=given["limit"])}


def _show(node: Node, given: Given) -> Answer:
    return node.incident(given["incident"])


def _export(node: Node, given: Given) -> Answer:
    shape = node.incident(given["incident"])
    # In lines: a transcript is longer than what one text of an answer may be.
    return {"id": shape["id"], "markdown_lines": incidents.markdown(shape).splitlines()}


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
        takes={"change_request": text("A change request: its id, or a unique beginning of it.")},
        run=_request,
    ),
)
