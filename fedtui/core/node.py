"""The node: the one place that wires settings, clock, database, vault, acts and jobs. `opening.py` opens one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fedtui.core.administration import manager_pause, operators, preferences
from fedtui.core.audit import verify as verifying
from fedtui.core.audit.changes import Changes, Watch
from fedtui.core.audit.events import emit
from fedtui.core.audit.verify import Verdict
from fedtui.core.certificates import operations as certificate_operations
from fedtui.core.diagnosis import dashboard as glances
from fedtui.core.diagnosis import engine, incidents, progress, wizard
from fedtui.core.diagnosis import error_lookup as recognise
from fedtui.core.diagnosis.check_runner import CheckResult
from fedtui.core.diagnosis.dashboard import Dashboard
from fedtui.core.diagnosis.engine import Diagnosis
from fedtui.core.diagnosis.error_lookup import KnownError
from fedtui.core.diagnosis.model import Fix
from fedtui.core.diagnosis.progress import IncidentState
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.governance import change_requests, findings, reporting, scanning
from fedtui.core.governance import listing as finding_listing
from fedtui.core.governance import metrics as governance_measures
from fedtui.core.governance.listing import FindingLine
from fedtui.core.grants import grants, resource_operations, what_if
from fedtui.core.grants import operations as grant_operations
from fedtui.core.grants.explain import Explanation
from fedtui.core.grants.usage import Used
from fedtui.core.grants.what_if import HypotheticalRequest
from fedtui.core.jobs import notifications
from fedtui.core.jobs import tasks as jobs
from fedtui.core.operations import approval_queue, gate, node_operations, override_operations, overrides
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.form import Form
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.operations.operation import OperationTable, join
from fedtui.core.peers import operations as peer_operations
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.vault import Vault
from fedtui.core.protocol import accept_client, heartbeats, manual_heartbeat
from fedtui.core.protocol import probe as probing
from fedtui.core.protocol.probe import Report, Step
from fedtui.core.runtime import daemons
from fedtui.core.runtime.actor import Actor, os_user
from fedtui.core.runtime.clock import Clock
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.identity import NodeIdentity
from fedtui.core.runtime.job_runs import Job
from fedtui.core.runtime.lease import Held
from fedtui.core.runtime.settings import Settings
from fedtui.core.views import metrics as measures
from fedtui.core.views import node_summary as overviews
from fedtui.core.views import serializers, short_lists
from fedtui.core.views.metrics import Measure
from fedtui.core.views.node_summary import (
    ApprovalRecord,
    CertificateRecord,
    EventRecord,
    GrantRecord,
    Overview,
    PeerRecord,
)

if TYPE_CHECKING:
    from fedtui.core.runtime.scheduler import Scheduler

DAEMON = "daemon"
MOST_LOWERINGS = 20
OPERATIONS = join(
    peer_operations.ACTS,
    accept_client.ACTS,
    grant_operations.ACTS,
    resource_operations.ACTS,
    certificate_operations.ACTS,
    override_operations.ACTS,
    node_operations.ACTS,
)
"""Every operation there is, by name."""


@dataclass(kw_only=True)
class Node(NodeContext):
    """An open node: the site with its table of acts, and who is acting. Close it when done."""

    acts: OperationTable
    operator: str
    _watch: Watch = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._watch = Watch(self.database)

    def actor(self, origin: str) -> Actor:
        """The operator of this process, come in by `origin` (`cli`, `console`, ...)."""
        ssh = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
        via = f"{origin} via ssh {ssh}" if ssh else origin
        return Actor("operator", self.operator, uid=os.getuid(), origin=via)

    def request(
        self,
        actor: Actor,
        action: str,
        params: Mapping[str, Any],
        *,
        reason: str | None = None,
        claiming: bool = True,
    ) -> Done | Pending:
        """Ask the gate for an act (`operations/gate.py`)."""
        return gate.request(self, self.acts, actor, action, params, reason=reason, claiming=claiming)

    def overview(self) -> Overview:
        """The node at a glance, for its operator."""
        with self.read() as session:
            return overviews.overview(session, self, self.operator)

    def home(self) -> Dashboard:
        """Whether anything is wrong, and what needs the operator (`diagnosis/dashboard.py`)."""
        with self.read() as session:
            return glances.glance(session, self, self.operator)

    def operators(self) -> list[Mapping[str, Any]]:
        """The operators, each with its permissions."""
        with self.read() as session:
            return [serializers.operator(row) for row in operators.listing(session)]

    def form(self, action: str, name: str) -> Form:
        """The form that an operation declares for a command."""
        return self.acts[action].forms[name]

    def rows_of(self, name: str) -> Sequence[Mapping[str, Any]]:
        """A short list of the node, by its name (`views/short_lists.py`)."""
        with self.read() as session:
            return short_lists.ROWS[name](session, self.clock.now())

    def lowerings(self) -> list[Mapping[str, Any]]:
        """The newest lowerings of policies, each with what ran under it (`operations/overrides.py`)."""
        with self.read() as session:
            return [overrides.shape(session, row) for row in overrides.history(session, limit=MOST_LOWERINGS)]

    def preferences(self) -> dict[str, Any]:
        """What the operator prefers to see (`administration/preferences.py`)."""
        with self.read() as session:
            return preferences.of(session, self.operator)

    def prefer(self, actor: Actor, given: Mapping[str, Any]) -> None:
        """Keep these preferences of the operator; None forgets one."""
        with self.unit(actor) as unit:
            preferences.put(unit, self.operator, given)

    def peer_record(self, peer_id: str) -> PeerRecord | None:
        """One peer in full, or None."""
        with self.read() as session:
            return overviews.peer_record(session, peer_id)

    def heartbeat_now(self, actor: Actor, peer_id: str) -> str | None:
        """Send a heartbeat to a peer at once; None, or why it failed."""
        return manual_heartbeat.send(self, actor, peer_id)[1]

    def event_record(self, event_id: str) -> EventRecord | None:
        """What the same act caused besides an event, or None if that is not there."""
        with self.read() as session:
            return overviews.event_record(session, event_id)

    def grant_record(self, grant_id: str) -> GrantRecord | None:
        """One grant in full, or None."""
        with self.read() as session:
            return overviews.grant_record(session, self, grant_id)

    def certificate_record(self, id: str) -> CertificateRecord | None:
        """One certificate, or request that waits for one, in full, or None."""
        with self.read() as session:
            return overviews.certificate_record(session, self, id)

    def probe(self, wanted: str, tell: Callable[[Step], object]) -> Report:
        """Look at a peer's TLS (`protocol/probe.py`)."""
        return probing.probe(self, wanted, tell)

    def approval_record(self, approval_id: str) -> ApprovalRecord | None:
        """One request in full, or None."""
        with self.read() as session:
            return overviews.approval_record(session, self, self.acts, approval_id)

    def approval_beside(self, approval_id: str, view: str, *, forwards: bool) -> str | None:
        """The id of the request after, or before, this one in a view of the queue."""
        with self.read() as session:
            here = approval_queue.View(view, self.operator, self.clock.now())
            return approval_queue.beside(session, approval_id, here, forwards=forwards)

    def approve(self, actor: Actor, approval_id: str, digest: str, *, reason: str | None = None) -> Approval:
        """Approve a request by the digest that was shown."""
        return gate.approve(self, self.acts, actor, approval_id, digest, reason=reason)

    def decide(self, actor: Actor, what: str, approval_id: str, *words: str) -> Approval:
        """Reject, withdraw or retry a request."""
        return gate.decide(self, actor, what, approval_id, *words)

    def explain(
        self, described: HypotheticalRequest, *, decision: str | None = None, edit: Mapping[str, Any] | None = None
    ) -> Explanation:
        """Why a call is allowed or refused (`grants/what_if.py`)."""
        with self.read() as session:
            return what_if.explain(session, described, now=self.clock.now(), decision=decision, edit=edit)

    def cut_off(self, grant_id: str, edit: Mapping[str, Any] | None) -> list[Used]:
        """What an edit of a grant, or its revocation (None), would cut off."""
        with self.read() as session:
            grant = grants.find(session, grant_id)
            changes = None if edit is None else grant_operations.edited(grant, edit)
            return grant_operations.cut_off(session, grant, changes, self.clock.now())

    def diagnose(
        self, wanted: DiagnosisTarget, tell: Callable[[CheckResult], object] = lambda _seen: None
    ) -> Diagnosis:
        """Run the playbook's checks (`diagnosis/engine.py`)."""
        return engine.diagnose(self, self.acts, wanted, tell)

    def recognise(self, text: str) -> KnownError | None:
        """What a pasted text means (`diagnosis/error_lookup.py`)."""
        with self.read() as session:
            return recognise.look_up(session, text)

    def begin_incident(self, actor: Actor, wanted: DiagnosisTarget) -> str:
        """Open an incident; its id (`diagnosis/wizard.py`)."""
        return wizard.begin(self, actor, wanted)

    def look(
        self,
        actor: Actor,
        incident_id: str,
        tell: Callable[[CheckResult], object] = lambda _seen: None,
        *,
        token: str | None = None,
        proving: bool = False,
    ) -> Diagnosis:
        """Run an incident's checks, and write down what they saw."""
        return wizard.look(self, self.acts, actor, incident_id, tell=tell, token=token, proving=proving)

    def mend(self, actor: Actor, incident_id: str, fix: Fix) -> Mapping[str, Any]:
        """Carry out a fix for an incident, through the gate."""
        return wizard.mend(self, self.acts, actor, incident_id, fix)

    def asked_for(self, incident_id: str) -> Fix:
        """The fix that an incident waits for (`diagnosis/wizard.py`)."""
        return wizard.asked_for(self, incident_id)

    def preview(self, actor: Actor, fix: Fix) -> list[str]:
        """What a fix will change, in lines."""
        return wizard.preview(self, self.acts, actor, fix)

    def standing(self, incident_id: str) -> IncidentState:
        """Where an incident stands."""
        return progress.incident_state(self, incident_id)

    def leave_incident(self, actor: Actor, incident_id: str) -> bool:
        """Close an incident that came to nothing (`diagnosis/wizard.py`)."""
        return wizard.leave(self, actor, incident_id)

    def surroundings(self, incident_id: str) -> dict[str, Any]:
        """The events and findings around an incident (`diagnosis/wizard.py`)."""
        return wizard.surroundings(self, incident_id)

    def incident(self, wanted: str) -> dict[str, Any]:
        """An incident with its transcript. Raises `NotFound`."""
        with self.read() as session:
            return incidents.shape(session, incidents.find(session, wanted), full=True)

    def incidents(self, *, open_only: bool = False, limit: int = 100) -> list[dict[str, Any]]:
        """Incidents, open ones first, newest first."""
        with self.read() as session:
            found = incidents.listing(session, open_only=open_only, limit=limit)
            return [incidents.shape(session, row) for row in found]

    def open_incidents(self) -> int:
        """How many incidents are open."""
        with self.read() as session:
            return incidents.open_count(session)

    def note_incident(self, actor: Actor, wanted: str, text: str) -> None:
        """Write a note into an incident."""
        with self.unit(actor) as unit:
            incidents.note(unit, incidents.find(unit.session, wanted).id, text)

    def escalate(self, actor: Actor, incident: str | None, *, title: str, body: str) -> Mapping[str, Any]:
        """File a change request with the federation's owner; an incident it is about is closed as handed on."""
        if incident is None:
            with self.unit(actor) as unit:
                return change_requests.shape(change_requests.file(unit, title=title, body=body))
        with self.read() as session:
            found = incidents.find(session, incident).id
        return wizard.escalate(self, actor, found, title=title, body=body)

    def settle_request(self, actor: Actor, wanted: str, status: str, reason: str) -> Mapping[str, Any]:
        """Say what became of a change request."""
        with self.unit(actor) as unit:
            return change_requests.shape(change_requests.settle(unit, wanted, status, reason))

    def scan_governance(self, actor: Actor) -> dict[str, Any]:
        """Look for every kind of finding now (`governance/scanning.py`)."""
        return scanning.scan(self, actor)

    def acknowledge_finding(self, actor: Actor, wanted: str, reason: str, span: timedelta) -> FindingLine:
        """Hide a finding from what is open, for so long."""
        with self.unit(actor) as unit:
            row = findings.acknowledge(unit, wanted, reason=reason, span=span)
            [line] = finding_listing.starting_with(unit.session, row.id, now=unit.now)
        return line

    def governance_report(self) -> dict[str, Any]:
        """All findings, for people who look at no console (`governance/reporting.py`)."""
        with self.read() as session:
            return reporting.report(session, self, self.clock.now())

    def _maintenance(self, held: Held) -> Mapping[str, Any]:
        done = jobs.maintenance(self, held)
        scanned = scanning.scan(self, held=held)
        kept = ("appeared", "gone", "open", "held_back", "duration_ms")
        return {**done, "governance": {name: scanned[name] for name in kept}}

    def close_incident(self, actor: Actor, wanted: str, outcome: str, reason: str = "") -> None:
        """End an incident."""
        with self.unit(actor) as unit:
            incidents.close(unit, incidents.find(unit.session, wanted).id, outcome, reason)

    def verify_events(
        self, *, head: str | None = None, tell: Callable[[int], object] = lambda _sealed: None
    ) -> Verdict:
        """Whether the record is as it was sealed (`audit/verify.py`)."""
        return verifying.verify(self.database, jobs.sealing_key(self), self.clock.now(), head=head, tell=tell)

    def jobs(self) -> Sequence[Job]:
        """The schedule."""
        settings = self.settings
        off = {name.strip() for name in settings.jobs_off.split(",")}
        table = (
            Job(
                heartbeats.JOB,
                settings.heartbeat_interval,
                lambda held: jobs.federation_heartbeat(self, held),
            ),
            Job(
                manager_pause.MANAGER_JOB,
                settings.manager_interval,
                lambda held: jobs.manager_tick(self, self.acts, held),
            ),
            Job(notifications.JOB, settings.notify_interval, lambda held: notifications.deliver(self, held)),
            Job(jobs.SEALING_JOB, settings.sealing_interval, lambda held: jobs.sealing(self, held)),
            Job(jobs.MAINTENANCE_JOB, settings.maintenance_interval, self._maintenance),
        )
        return tuple(job for job in table if job.name not in off)

    def start_schedule(self, *, url: str, operations_url: str | None) -> Scheduler:
        """Record that this process listens at `url`, and run the jobs under the lease until stopped."""
        from fedtui.core.runtime.scheduler import Scheduler  # here: only a daemon needs APScheduler

        with self.unit(_daemon()) as unit:
            daemons.register(unit.session, self.holder, url=url, operations_url=operations_url, now=unit.now)
            emit(unit, "system.daemon.started", source=DAEMON, url=url, holder=self.holder)
        scheduler = Scheduler(
            self.database, self.settings, self.clock, self.holder, self.jobs(), taken=self._lease_taken
        )
        scheduler.start()
        return scheduler

    def _lease_taken(self, held: Held) -> None:
        with self.unit(_daemon()) as unit:
            emit(unit, "system.lease.taken", source=DAEMON, holder=held.holder, epoch=held.epoch)

    def stop_schedule(self, scheduler: Scheduler) -> None:
        """Wait for the jobs that run, let go of the lease, and record that this process has stopped."""
        scheduler.stop()
        with self.unit(_daemon()) as unit:
            emit(unit, "system.daemon.stopped", source=DAEMON, holder=self.holder)

    def measures(self) -> list[Measure]:
        """What a monitoring system asks of the node (`views/metrics.py`)."""
        with self.read() as session:
            return measures.measures(session, self, self.jobs(), (*measures.QUESTIONS, *governance_measures.QUESTIONS))

    def changes(self) -> Changes:
        """A watch on what other processes commit."""
        return self._watch.changes()

    def close(self) -> None:
        """Give back the database's connections."""
        self._watch.close()
        self.database.close()


def _daemon() -> Actor:
    return Actor("job", DAEMON, uid=os.getuid(), origin=DAEMON)


def acting_operator(settings: Settings) -> str:
    """Who acts: FEDTUI_OPERATOR or --operator as claimed, else the OS user."""
    return settings.operator or os_user()


def assemble(
    settings: Settings, clock: Clock, database: Database, vault: Vault, known: NodeIdentity, operator: str
) -> Node:
    """A node of these parts, with every act there is, for an operator by the name on record."""
    return Node(
        settings=settings,
        clock=clock,
        database=database,
        vault=vault,
        id=known.id,
        name=known.name,
        url=known.url,
        acts=OPERATIONS,
        operator=operator,
    )
