"""The node as the screens see it: what they may read, and whom they ask for acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fedtui.core.diagnosis.dashboard import Dashboard
    from fedtui.core.operations.form import Form
    from fedtui.core.views.node_summary import (
        ApprovalRecord,
        CertificateRecord,
        EventRecord,
        GrantRecord,
        Overview,
        PeerRecord,
    )


class Changes(Protocol):
    """Notices that any process has committed to the node's database."""

    def poll(self) -> bool:
        """Whether anything was committed since the last call. Always call it from the same thread."""


class Settings(Protocol):
    """The node's settings, as far as the screens show them."""

    @property
    def stale_after(self) -> timedelta: ...


class NodeHandle(Protocol):
    """An open node: `fedtui.core.node.Node`, or a stand-in for tests."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    def read(self) -> AbstractContextManager[Any]:
        """A read-only transaction; close it soon."""

    def actor(self, origin: str) -> Any:
        """Who acts here, for the record."""

    def request(self, actor: Any, action: str, params: Mapping[str, Any], *, reason: str | None = None) -> Any:
        """Ask the gate for an act: `Done` or `Pending`."""

    def overview(self) -> Overview:
        """The node at a glance, for its operator."""

    def home(self) -> Dashboard:
        """Whether anything is wrong, and what needs the operator."""

    def operators(self) -> Sequence[Mapping[str, Any]]:
        """The operators, each with its permissions."""

    def form(self, action: str, name: str) -> Form:
        """The form that an operation declares for a command."""

    def rows_of(self, name: str) -> Sequence[Mapping[str, Any]]:
        """A short list of the node: bridges, inventory, resources, settings or policies."""

    def lowerings(self) -> Sequence[Mapping[str, Any]]:
        """The newest lowerings of policies, each with what ran under it."""

    def preferences(self) -> Mapping[str, Any]:
        """What the operator prefers to see."""

    def prefer(self, actor: Any, given: Mapping[str, Any]) -> None:
        """Keep these preferences of the operator; None forgets one."""

    def peer_record(self, peer_id: str) -> PeerRecord | None:
        """One peer in full."""

    def event_record(self, event_id: str) -> EventRecord | None:
        """What the same act caused besides an event."""

    def scan_governance(self, actor: Any) -> Mapping[str, Any]:
        """Look for every kind of finding now."""

    def acknowledge_finding(self, actor: Any, wanted: str, reason: str, span: timedelta) -> Any:
        """Hide a finding from what is open, for so long."""

    def governance_report(self) -> Mapping[str, Any]:
        """All findings, as JSON."""

    def grant_record(self, grant_id: str) -> GrantRecord | None:
        """One grant in full."""

    def certificate_record(self, id: str) -> CertificateRecord | None:
        """One certificate, or request that waits for one, in full."""

    def probe(self, wanted: str, tell: Callable[[Any], object]) -> Any:
        """Look at a peer's TLS, step by step; `tell` is called with each, in this thread."""

    def recognise(self, text: str) -> Any:
        """What a pasted text means, or None."""

    def diagnose(self, wanted: Any, tell: Callable[[Any], object]) -> Any:
        """Run the playbook's checks; `tell` is called with each as it ends, in this thread."""

    def begin_incident(self, actor: Any, wanted: Any) -> str:
        """Open an incident; its id."""

    def look(
        self, actor: Any, incident_id: str, tell: Callable[[Any], object], *, token: str | None, proving: bool
    ) -> Any:
        """Run an incident's checks, and write down what they saw."""

    def mend(self, actor: Any, incident_id: str, fix: Any) -> Mapping[str, Any]:
        """Carry out a fix for an incident."""

    def asked_for(self, incident_id: str) -> Any:
        """The fix that an incident waits for."""

    def preview(self, actor: Any, fix: Any) -> Sequence[str]:
        """What a fix will change, in lines."""

    def standing(self, incident_id: str) -> Any:
        """Where an incident stands."""

    def surroundings(self, incident_id: str) -> dict[str, Any]:
        """The events and findings around an incident."""

    def incident(self, wanted: str) -> dict[str, Any]:
        """An incident with its transcript."""

    def incidents(self, *, open_only: bool = False, limit: int = 100) -> list[dict[str, Any]]:
        """Incidents, open ones first, newest first."""

    def open_incidents(self) -> int:
        """How many incidents are open."""

    def note_incident(self, actor: Any, wanted: str, text: str) -> None:
        """Write a note into an incident."""

    def escalate(self, actor: Any, incident: str | None, *, title: str, body: str) -> Mapping[str, Any]:
        """File a change request for an incident, and close it as handed on."""

    def leave_incident(self, actor: Any, incident_id: str) -> bool:
        """Close an incident that came to nothing; whether it was closed."""

    def close_incident(self, actor: Any, wanted: str, outcome: str, reason: str = "") -> None:
        """End an incident."""

    def cut_off(self, grant_id: str, edit: Mapping[str, Any] | None) -> Sequence[Any]:
        """What an edit of a grant would cut off."""

    def explain(self, described: Any, *, decision: str | None = None, edit: Mapping[str, Any] | None = None) -> Any:
        """Why a call is allowed or refused."""

    def approval_beside(self, approval_id: str, view: str, *, forwards: bool) -> str | None:
        """The id of the request after, or before, this one in a view of the queue."""

    def approval_record(self, approval_id: str) -> ApprovalRecord | None:
        """One request in full."""

    def approve(self, actor: Any, approval_id: str, digest: str, *, reason: str | None = None) -> Any:
        """Approve what was shown."""

    def decide(self, actor: Any, what: str, approval_id: str, *words: str) -> Any:
        """Reject, withdraw or retry a request."""

    def heartbeat_now(self, actor: Any, peer_id: str) -> str | None:
        """Send a heartbeat at once; None, or why it failed."""

    def changes(self) -> Changes: ...
    def close(self) -> None: ...
