"""The node: the one place that wires settings, clock, database, vault, acts and jobs."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import tomli_w

from fedtui.core.access import grants
from fedtui.core.access.explain import Explanation
from fedtui.core.access.usage import Used
from fedtui.core.acts import (
    accepting,
    access_acts,
    certificate_acts,
    gate,
    grant_acts,
    jobs,
    measures,
    node_acts,
    notifying,
    peer_acts,
    policy_acts,
    restoring,
    what_if,
)
from fedtui.core.acts import overview as overviews
from fedtui.core.acts.gate import Done, Pending
from fedtui.core.acts.measures import Measure
from fedtui.core.acts.overview import ApprovalRecord, CertificateRecord, EventRecord, GrantRecord, Overview, PeerRecord
from fedtui.core.acts.table import ActTable, join
from fedtui.core.acts.what_if import Described
from fedtui.core.control import node_settings, operators, preferences, queue
from fedtui.core.control.approvals import Approval
from fedtui.core.errors import Refused, Unusable, WrongUsage
from fedtui.core.governance import change_requests, findings, reporting, scanning
from fedtui.core.governance import listing as finding_listing
from fedtui.core.governance import measures as governance_measures
from fedtui.core.governance.listing import FindingLine
from fedtui.core.peering import heartbeats, probing
from fedtui.core.peering.probing import Report, Step
from fedtui.core.playbook import engine, incidents, recognise, wizard
from fedtui.core.playbook import glance as glances
from fedtui.core.playbook.engine import Diagnosis, Seen
from fedtui.core.playbook.glance import Glance
from fedtui.core.playbook.model import Fix
from fedtui.core.playbook.recognise import Recognised
from fedtui.core.playbook.survey import Wanted
from fedtui.core.playbook.wizard import Standing
from fedtui.core.record import verifying
from fedtui.core.record.changes import Changes
from fedtui.core.record.events import emit
from fedtui.core.record.verifying import Verdict
from fedtui.core.runtime import daemons, home, identity, migrate, upkeep, urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.clock import Clock, SystemClock
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.identity import NodeIdentity
from fedtui.core.runtime.jobs import Job
from fedtui.core.runtime.lease import Held
from fedtui.core.runtime.settings import DATABASE_FILE, Settings
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import unit_of_work
from fedtui.core.trust import signing
from fedtui.core.trust import vault as vaults
from fedtui.core.trust.site import Site
from fedtui.core.trust.vault import Vault

if TYPE_CHECKING:
    from fedtui.core.runtime.scheduler import Scheduler

NAME_LIMIT = 40
DAEMON = "daemon"


@dataclass(kw_only=True)
class Node(Site):
    """An open node: the site with its table of acts, and who is acting. Close it when done."""

    acts: ActTable
    operator: str

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
        """Ask the gate for an act (`acts/gate.py`)."""
        return gate.request(self, self.acts, actor, action, params, reason=reason, claiming=claiming)

    def overview(self) -> Overview:
        """The node at a glance, for its operator."""
        with self.read() as session:
            return overviews.overview(session, self, self.operator)

    def home(self) -> Glance:
        """Whether anything is wrong, and what needs the operator (`playbook/glance.py`)."""
        with self.read() as session:
            return glances.glance(session, self, self.operator)

    def preferences(self) -> dict[str, Any]:
        """What the operator prefers to see (`control/preferences.py`)."""
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
        return peer_acts.heartbeat_now(self, actor, peer_id)[1]

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
        """Look at a peer's TLS (`peering/probing.py`)."""
        return probing.probe(self, wanted, tell)

    def approval_record(self, approval_id: str) -> ApprovalRecord | None:
        """One request in full, or None."""
        with self.read() as session:
            return overviews.approval_record(session, self, self.acts, approval_id)

    def approval_beside(self, approval_id: str, view: str, *, forwards: bool) -> str | None:
        """The id of the request after, or before, this one in a view of the queue."""
        with self.read() as session:
            here = queue.View(view, self.operator, self.clock.now())
            return queue.beside(session, approval_id, here, forwards=forwards)

    def approve(self, actor: Actor, approval_id: str, digest: str, *, reason: str | None = None) -> Approval:
        """Approve a request by the digest that was shown."""
        return gate.approve(self, self.acts, actor, approval_id, digest, reason=reason)

    def decide(self, actor: Actor, what: str, approval_id: str, *words: str) -> Approval:
        """Reject, withdraw or retry a request."""
        return gate.decide(self, actor, what, approval_id, *words)

    def explain(
        self, described: Described, *, decision: str | None = None, edit: Mapping[str, Any] | None = None
    ) -> Explanation:
        """Why a call is allowed or refused (`acts/what_if.py`)."""
        with self.read() as session:
            return what_if.explain(session, described, now=self.clock.now(), decision=decision, edit=edit)

    def cut_off(self, grant_id: str, edit: Mapping[str, Any] | None) -> list[Used]:
        """What an edit of a grant, or its revocation (None), would cut off."""
        with self.read() as session:
            grant = grants.find(session, grant_id)
            changes = None if edit is None else grant_acts.edited(grant, edit)
            return grant_acts.cut_off(session, grant, changes, self.clock.now())

    def diagnose(self, wanted: Wanted, tell: Callable[[Seen], object] = lambda _seen: None) -> Diagnosis:
        """Run the playbook's checks (`playbook/engine.py`)."""
        return engine.diagnose(self, self.acts, wanted, tell)

    def recognise(self, text: str) -> Recognised | None:
        """What a pasted text means (`playbook/recognise.py`)."""
        with self.read() as session:
            return recognise.recognise(session, text)

    def begin_incident(self, actor: Actor, wanted: Wanted) -> str:
        """Open an incident; its id (`playbook/wizard.py`)."""
        return wizard.begin(self, actor, wanted)

    def look(
        self,
        actor: Actor,
        incident_id: str,
        tell: Callable[[Seen], object] = lambda _seen: None,
        *,
        token: str | None = None,
        proving: bool = False,
    ) -> Diagnosis:
        """Run an incident's checks, and write down what they saw."""
        return wizard.look(self, self.acts, actor, incident_id, tell=tell, token=token, proving=proving)

    def mend(self, actor: Actor, incident_id: str, fix: Fix) -> Mapping[str, Any]:
        """Carry out a fix for an incident, through the gate."""
        return wizard.mend(self, self.acts, actor, incident_id, fix)

    def preview(self, actor: Actor, fix: Fix) -> list[str]:
        """What a fix will change, in lines."""
        return wizard.preview(self, self.acts, actor, fix)

    def standing(self, incident_id: str) -> Standing:
        """Where an incident stands."""
        return wizard.standing(self, incident_id)

    def surroundings(self, incident_id: str) -> dict[str, Any]:
        """The events and findings around an incident (`playbook/wizard.py`)."""
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
        """Whether the record is as it was sealed (`record/verifying.py`)."""
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
                jobs.MANAGER_JOB,
                settings.manager_interval,
                lambda held: jobs.manager_tick(self, self.acts, held),
            ),
            Job(notifying.JOB, settings.notify_interval, lambda held: notifying.deliver(self, held)),
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
        """What a monitoring system asks of the node (`acts/measures.py`)."""
        with self.read() as session:
            return measures.measures(session, self, self.jobs(), (*measures.QUESTIONS, *governance_measures.QUESTIONS))

    def changes(self) -> Changes:
        """A watch on what other processes commit."""
        return Changes(self.database)

    def close(self) -> None:
        """Give back the database's connections."""
        self.database.close()


def _daemon() -> Actor:
    return Actor("job", DAEMON, uid=os.getuid(), origin=DAEMON)


def acting_operator(settings: Settings) -> str:
    """Who acts: FEDTUI_OPERATOR or --operator as claimed, else the OS user."""
    return settings.operator or getpass.getuser()


def open_node(settings: Settings, *, clock: Clock | None = None, migrate_first: bool = True) -> Node:
    """Open the node in `settings.home`.

    Raises `Unusable` when there is none, when others can read it, when the database is newer
    than this program, or when the vault's key is not the one it was set up with.
    """
    database = _open_database(settings)
    try:
        vault = Vault(vaults.read_key(settings.vault_key_path))
        if migrate_first:
            migrate.upgrade(database)
        else:
            migrate.require_current(database)
        with database.explained(), database.reading() as session:
            known = identity.load(session)
            vault.require_key(session, known.id)
    except BaseException:
        database.close()
        raise
    return _node(settings, clock or SystemClock(settings.clock_offset), database, vault, known)


def restore_node(settings: Settings, backup: Path, *, reason: str, clock: Clock | None = None) -> Mapping[str, Any]:
    """Put a backup in the place of the node's database; the node is in quarantine from its first moment.

    The old database is put aside, not removed. Raises `Refused` while a daemon runs, or for an operator whom the
    backup does not know as one who may; `WrongUsage` for a file that is no backup; `Unusable` for one that this
    vault's key does not open.
    """
    _require_stopped(settings, clock)
    home.require_private(settings.home)
    staged = upkeep.stage(backup, settings.home)
    try:
        node = open_node(replace(settings, database_url=f"sqlite:///{quote(str(staged))}"), clock=clock)
        try:
            begun = restoring.begin(node, node.actor("cli"), reason)
            found = upkeep.check(node.database)
            now, file = node.clock.now(), settings.home / DATABASE_FILE
        finally:
            node.close()
        if found:
            raise Unusable(
                "The backup is damaged.", cause="; ".join(found), fix="Take an older one.", code="backup_damaged"
            )
        aside = upkeep.put_in_place(staged, file, now)
    finally:
        for left in settings.home.glob(f"{upkeep.STAGED}*"):
            left.unlink()
    return {"restored": str(backup), "put_aside": str(aside) if aside else None, **begun}


def _require_stopped(settings: Settings, clock: Clock | None) -> None:
    """Raise `Refused` where a daemon is known to run on the database that is to be replaced."""
    if settings.database_url:
        raise Refused(
            "This node keeps its records on a database server.",
            cause="Only the built-in SQLite database is restored by fedtui.",
            fix="Use the server's own tool (pg_restore), then: fedtui db quarantine --begin --reason ...",
            code="backup_elsewhere",
        )
    if not settings.config_file.exists() or not (settings.home / DATABASE_FILE).exists():
        return
    try:
        node = open_node(settings, clock=clock, migrate_first=False)
    except Unusable:
        return  # what cannot be opened is what is to be replaced
    try:
        with node.read() as session:
            running = daemons.alive(session, now=node.clock.now(), ttl=3 * settings.lease_ttl)
    finally:
        node.close()
    if running:
        raise Refused(
            "A daemon of this node runs.",
            cause=f"Process {running[0].pid} on {running[0].host} would go on with the old database.",
            fix="Stop it, then restore again.",
            code="daemon_running",
        )


def init_node(
    settings: Settings,
    *,
    name: str,
    url: str,
    single_operator: bool = False,
    drill_mode: bool = False,
    clock: Clock | None = None,
) -> Node:
    """Set up a node: home, vault key, database, CA, server certificate, first operator.

    Everything but the key file is written in one transaction. Raises `Refused` on a home
    that has a node, `WrongUsage` for a bad name or URL.
    """
    shown_name = name.strip()
    if not 1 <= len(shown_name) <= NAME_LIMIT or not shown_name.isprintable():
        raise WrongUsage(
            f"{name[:80]!r} cannot be a node's name.",
            cause=f"A name is 1 to {NAME_LIMIT} printable characters; it tells nodes apart on the screen.",
            fix="Choose one like platform-a.",
            code="name_invalid",
        )
    own_url = urls.normalize(url)
    home.make(settings.home)
    home.require_private(settings.home)
    database = Database(settings.resolved_database_url)
    try:
        migrate.upgrade(database)
        return _write_node(
            settings,
            clock or SystemClock(settings.clock_offset),
            database,
            shown_name,
            own_url,
            single_operator,
            drill_mode,
        )
    except BaseException:
        database.close()
        raise


def _write_node(
    settings: Settings,
    clock: Clock,
    database: Database,
    name: str,
    url: str,
    single_operator: bool,
    drill_mode: bool,
) -> Node:
    operator = acting_operator(settings)
    actor = Actor("operator", operator, uid=os.getuid(), origin="init")
    with unit_of_work(database, now=clock.now(), actor=actor) as unit:
        if unit.session.query(NodeIdentity).first() is not None:
            raise _already_set_up(settings)
        key_path = settings.vault_key_path
        # A key left by an init that died before its commit is taken up, not overwritten.
        vault = Vault(vaults.read_key(key_path) if key_path.exists() else vaults.make_key(key_path))
        known = NodeIdentity(id=new_id(), name=name, url=url, created_at=unit.now)
        unit.session.add(known)
        vault.place_check(unit.session, known.id, unit.now)
        signing.create_authority(unit, vault, name)
        operators.add(unit, operator, operators.PERMISSIONS)
        for key, wanted in (("single_operator", single_operator), ("drill_mode", drill_mode)):
            if wanted:
                node_settings.put(unit, key, "on")
        node = _node(settings, clock, database, vault, known)
        jobs.renew_server(unit, node)
        emit(unit, "system.node.initialised", source="init", name=name, url=url)
        _write_config(settings)
    return node


def _write_config(settings: Settings) -> None:
    if settings.config_file.exists():
        return
    home.write_private(settings.config_file, tomli_w.dumps({"listen": settings.listen}).encode())


def _node(settings: Settings, clock: Clock, database: Database, vault: Vault, known: NodeIdentity) -> Node:
    return Node(
        settings=settings,
        clock=clock,
        database=database,
        vault=vault,
        id=known.id,
        name=known.name,
        url=known.url,
        acts=join(
            peer_acts.ACTS,
            accepting.ACTS,
            grant_acts.ACTS,
            access_acts.ACTS,
            certificate_acts.ACTS,
            policy_acts.ACTS,
            node_acts.ACTS,
        ),
        operator=acting_operator(settings),
    )


def _open_database(settings: Settings) -> Database:
    home.require_private(settings.home)
    database = Database(settings.resolved_database_url)
    if database.file is not None and not database.file.exists():
        raise identity.not_set_up()
    return database


def _already_set_up(settings: Settings) -> Refused:
    return Refused(
        f"There is already a node in {settings.home}.",
        cause="Setting up again would replace its CA, and every peer would lose it.",
        fix="Use it as it is (fedtui config shows it), or choose another home with FEDTUI_HOME=DIR.",
        code="already_set_up",
    )
