"""The tools that look. What they answer is what the console and the command line show."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from fedtui.core.audit import events
from fedtui.core.certificates import listing as certificate_listing
from fedtui.core.diagnosis import engine
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import WrongUsage
from fedtui.core.governance import findings
from fedtui.core.governance import listing as finding_listing
from fedtui.core.governance.rules import BY_KIND
from fedtui.core.grants import decisions, grants
from fedtui.core.grants import listing as grant_listing
from fedtui.core.grants import operations as grant_operations
from fedtui.core.grants.chain import SCOPE_FOR
from fedtui.core.grants.what_if import HypotheticalRequest
from fedtui.core.node import Node
from fedtui.core.operations import approval_queue, approvals
from fedtui.core.peers import listing as peer_listing
from fedtui.core.peers import peers
from fedtui.core.pki import certificates
from fedtui.core.runtime import durations
from fedtui.core.views import serializers
from fedtui.mcp.parameters import (
    CONTAINING,
    DOCTOR,
    GRANT,
    LIMIT,
    OF_PEER,
    OFFSET,
    PEER,
    flag,
    maybe,
    one_of,
    text,
)
from fedtui.mcp.table import Answer, Given, Tool


def _peers(node: Node, given: Given) -> Answer:
    containing = given.get("containing", "")
    with node.read() as session:
        lines = peer_listing.page(session, text=containing, limit=given["limit"], offset=given["offset"])
        return {"peers": [asdict(line) for line in lines], "total": peer_listing.count(session, text=containing)}


def _peer(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = peers.find(session, given["peer"]).id
    record = node.peer_record(found)
    assert record is not None  # noqa: S101 - peers are never removed
    return asdict(record)


def _grants(node: Node, given: Given) -> Answer:
    with node.read() as session:
        of_peer = peers.find(session, given["peer"]).id if "peer" in given else None
        found = grant_listing.rows(session, peer_id=of_peer, archived=given["archived"], limit=given["limit"])
        return {"grants": [grant_operations.shape(row, node.clock.now()) for row in found]}


def _grant(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = grants.find(session, given["grant"]).id
    record = node.grant_record(found)
    assert record is not None  # noqa: S101 - grants are never removed
    return {"grant": record.shape, "used": record.used, "decisions": record.decisions}


def _explain(node: Node, given: Given) -> Answer:
    call = {key: value for key, value in given.items() if key != "decision"}
    if ("decision" in given) == bool({*call} - {"method"}):
        raise WrongUsage(
            "Give a decision, or describe a call; not both and not neither.",
            cause="A call that was made is replayed, or one is described.",
            fix="Give decision alone, or bearer with what the call would carry.",
        )
    described = HypotheticalRequest(
        bearer=call.get("bearer", ""),
        kind=call.get("resource_kind"),
        id=call.get("resource_id"),
        method=call["method"],
        instance=call.get("node_instance_id"),
        network=call.get("sdwan_network_id"),
        source_ip=call.get("source_ip"),
        peer=call.get("peer"),
    )
    return serializers.explanation(node.explain(described, decision=given.get("decision")))


def _decisions(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = decisions.listing(
            session,
            peer_id=peers.find(session, given["peer"]).id if "peer" in given else None,
            grant_id=grants.find(session, given["grant"]).id if "grant" in given else None,
            refused_only=given["refused_only"],
            limit=given["limit"],
        )
        return {"decisions": [serializers.decision(row) for row in found]}


def _approvals(node: Node, given: Given) -> Answer:
    here = approval_queue.View(given["view"], node.operator, node.clock.now())
    with node.read() as session:
        lines = approval_queue.page(session, view=here, text=given.get("containing", ""), limit=given["limit"])
        return {"approvals": [asdict(line) for line in lines]}


def _approval(node: Node, given: Given) -> Answer:
    with node.read() as session:
        row = approvals.find(session, given["approval"])
        return {"approval": serializers.approval_in_full(session, row, node, node.acts)}


def _certificates(node: Node, given: Given) -> Answer:
    containing = given.get("containing", "")
    with node.read() as session:
        lines = certificate_listing.page(session, text=containing, limit=given["limit"], offset=given["offset"])
        total = certificate_listing.count(session, text=containing)
    return {"certificates": [asdict(line) for line in lines], "total": total}


def _certificate(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = certificates.find(session, given["serial"]).id
    record = node.certificate_record(found)
    assert record is not None  # noqa: S101 - certificates are never removed
    return asdict(record)


def _events(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = events.recent(
            session,
            source=given.get("source"),
            kind=given.get("kind"),
            severity=given.get("severity"),
            peer_id=peers.find(session, given["peer"]).id if "peer" in given else None,
            correlation_id=given.get("correlation_id"),
            since=_moment(node, given, "since"),
            until=_moment(node, given, "until"),
            limit=given["limit"],
        )
        return {"events": [serializers.event(row) for row in found]}


def _moment(node: Node, given: Given, name: str) -> datetime | None:
    return durations.moment(given[name], node.clock.now(), field=name) if name in given else None


def _doctor(node: Node, given: Given) -> Answer:
    return engine.shape(node.diagnose(DiagnosisTarget(**given)))


def _recognise(node: Node, given: Given) -> Answer:
    found = node.recognise(given["text"])
    if found is None:
        raise WrongUsage(
            "That text is not one that the playbook knows.",
            cause="It knows the answers of the federation API, the lines of the log, and ids and URLs of this node.",
            fix="Run system_sdwan_federation_doctor without a symptom: it looks at everything.",
            code="text_not_recognised",
        )
    wanted = found.wanted
    points = {name: getattr(wanted, name) for name in DOCTOR}
    return {"means": found.means, "said": found.said, "about": found.about, "doctor": points}


def _report(node: Node, given: Given) -> Answer:
    report = dict(node.governance_report())
    for part in ("findings", "acknowledged", "gone"):
        report[f"{part}_in_all"], report[part] = len(report[part]), report[part][: given["limit"]]
    return report


def _findings(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = finding_listing.rows(
            session,
            now=node.clock.now(),
            states=(given["state"],),
            peer_id=peers.find(session, given["peer"]).id if "peer" in given else None,
            kind=given.get("kind"),
            severity=given.get("severity"),
            limit=given["limit"],
        )
        return {"findings": [findings.shape(line) for line in found]}


def _manager(node: Node, _given: Given) -> Answer:
    with node.read() as session:
        return serializers.manager(session, node, tuple(node.jobs()))


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="system_sdwan_list_federation_peers",
        words="The platforms this node federates with, what needs attention first.",
        takes={"containing": CONTAINING, "limit": LIMIT, "offset": OFFSET},
        run=_peers,
    ),
    Tool(
        name="system_sdwan_get_federation_peer",
        words="One peer in full: state, heartbeats, certificates, the state of its token, its newest events.",
        takes={"peer": PEER},
        run=_peer,
    ),
    Tool(
        name="system_sdwan_list_federation_grants",
        words="What peers may use here; what runs out first on top, revoked ones last.",
        takes={
            "peer": OF_PEER,
            "archived": flag("Those put out of sight 90 days after their end, instead."),
            "limit": LIMIT,
        },
        run=_grants,
    ),
    Tool(
        name="system_sdwan_get_federation_grant",
        words="One grant in full, how it was used in the last 30 days, and its last decisions.",
        takes={"grant": GRANT},
        run=_grant,
    ),
    Tool(
        name="system_sdwan_explain_federation_grant",
        words="Why a call is allowed or refused: every check, and the smallest change that would let it through. "
        "Replays a decision, or judges a call that is described. Changes nothing.",
        takes={
            "decision": maybe("The id of a decision to replay."),
            "bearer": maybe("fg-<id>, or the grant's id."),
            "peer": maybe("Who calls. Default: the grant's peer."),
            "resource_kind": maybe("Default: the grant's."),
            "resource_id": maybe("Default: the grant's, if it names one."),
            "method": one_of("The call.", SCOPE_FOR, default="GET"),
            "node_instance_id": maybe("The calling instance. Default: the certificate's."),
            "sdwan_network_id": maybe("The network it comes in by."),
            "source_ip": maybe("The address it comes from."),
        },
        run=_explain,
    ),
    Tool(
        name="system_sdwan_list_federation_decisions",
        words="What the authorization chain came to: every refusal, and a sample of what was allowed; newest first.",
        takes={
            "peer": OF_PEER,
            "grant": maybe("Only calls with this grant."),
            "refused_only": flag("Only refusals."),
            "limit": LIMIT,
        },
        run=_decisions,
    ),
    Tool(
        name="system_sdwan_list_approval_requests",
        words="The approval queue. Requests are decided in the console or with `fedtui approvals`, never here.",
        takes={
            "view": one_of(
                "Which part: open, those for me to decide, mine, or history.", approval_queue.VIEWS, default="open"
            ),
            "containing": CONTAINING,
            "limit": LIMIT,
        },
        run=_approvals,
    ),
    Tool(
        name="system_sdwan_get_approval_request",
        words="One request: what it changes, its digest, who can decide it, what became of it.",
        takes={"approval": text("A request's id, or a unique beginning of it.")},
        run=_approval,
    ),
    Tool(
        name="system_sdwan_list_federation_certificates",
        words="Certificates, ours and theirs: pairs that do not work first, then what runs out.",
        takes={"containing": CONTAINING, "limit": LIMIT, "offset": OFFSET},
        run=_certificates,
    ),
    Tool(
        name="system_sdwan_get_federation_certificate",
        words="One certificate in full: its chain, what is wrong with its pair, how its renewal stands.",
        takes={"serial": text("Its serial, or a unique beginning of it.", longest=80)},
        run=_certificate,
    ),
    Tool(
        name="recent_events",
        words="What happened, newest first.",
        takes={
            "source": maybe(
                "Only from this source, like federation_heartbeat_sweep, sdwan_manager, accept_controller."
            ),
            "kind": maybe("Only of this kind, like federation.peer.accepted."),
            "severity": one_of("Only so grave, or graver.", events.SEVERITIES),
            "peer": OF_PEER,
            "correlation_id": maybe("Only what one act caused: the id that its events share."),
            "since": maybe("Not before this: ISO 8601, or so long ago, like 2h.", longest=60),
            "until": maybe("Before this, likewise.", longest=60),
            "limit": LIMIT,
        },
        run=_events,
    ),
    Tool(
        name="system_sdwan_federation_doctor",
        words="Run the playbook's checks: the causes with the root first, the evidence, and the smallest fix of each. "
        "It looks and changes nothing; it may call the peers concerned.",
        takes=DOCTOR,
        run=_doctor,
        calls_out=True,
    ),
    Tool(
        name="system_sdwan_recognise_text",
        words="What an error, a log line or an HTTP answer means, and what to hand to the doctor.",
        takes={"text": text("The text, as it was seen.", longest=8000)},
        run=_recognise,
    ),
    Tool(
        name="system_sdwan_governance_report",
        words="What is drifting: how many findings are open by severity, the gravest of them, what was acknowledged, "
        "what went away in the last 30 days.",
        takes={"limit": LIMIT},
        run=_report,
    ),
    Tool(
        name="system_sdwan_list_governance_findings",
        words="Findings of the governance scan, the gravest first, each with the command that helps.",
        takes={
            "state": one_of("Which.", findings.STATES, default=findings.OPEN),
            "kind": one_of("Only of this kind.", BY_KIND),
            "severity": one_of("Only so grave, or graver.", events.SEVERITIES),
            "peer": OF_PEER,
            "limit": LIMIT,
        },
        run=_findings,
    ),
    Tool(
        name="system_sdwan_manager_status",
        words="Whether the SDWAN Manager works, when it ticked, who holds the lease, how each job went.",
        takes={},
        run=_manager,
    ),
)
