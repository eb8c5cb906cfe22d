"""Telling people: each notice goes to the configured command as JSON on its standard input."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.acts import shapes
from fedtui.core.control.approvals import Approval
from fedtui.core.record import notices
from fedtui.core.record.events import Event, emit
from fedtui.core.record.notices import Notice
from fedtui.core.runtime import lease
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.lease import Held
from fedtui.core.trust.site import Site

log = logging.getLogger(__name__)
JOB = "notices"
_ACTOR = Actor("job", JOB, origin=f"job {JOB}")
AT_ONCE = 20
LONGEST_ERROR = 300


def deliver(site: Site, held: Held | None = None) -> Mapping[str, Any]:
    """The job: tell what is due, one after the other. A command that fails is tried again later."""
    command = shlex.split(site.settings.notify_command)
    with site.unit(_ACTOR) as unit:
        if held is not None:
            lease.fence(unit.session, held, now=unit.now, ttl=site.settings.lease_ttl)
        if not command:
            notices.forget_waiting(unit.session, unit.now)
            return {"configured": False}
        waiting = notices.due(unit.session, unit.now, limit=AT_ONCE)
    told = failed = 0
    for notice in waiting:
        if site.stopping.is_set():
            break
        error = _tell(site, command, notice)
        told, failed = told + (error is None), failed + (error is not None)
        _record(site, notice, error)
    return {"configured": True, "told": told, "failed": failed}


def _tell(site: Site, command: list[str], notice: Notice) -> str | None:
    """Run the command once; None, or why it did not take the notice."""
    with site.read() as session:
        event = session.get(Event, notice.event_id)
        if event is None:
            return None
        said = json.dumps(_notice(session, site, event), default=_plain)
    try:
        done = subprocess.run(
            command, input=said.encode(), capture_output=True, timeout=site.settings.notify_timeout.total_seconds(),
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"did not end within {site.settings.notify_timeout.total_seconds():.0f} s"
    except OSError as error:
        return f"could not be run: {error}"[:LONGEST_ERROR]
    if done.returncode == 0:
        return None
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return f"exit {done.returncode}{': ' + words[-1] if words else ''}"[:LONGEST_ERROR]


def _notice(session: Session, site: Site, event: Event) -> dict[str, Any]:
    asked = event.payload.get("approval_id")
    approval = session.get(Approval, asked) if asked else None
    return {
        "node": {"id": site.id, "name": site.name, "url": site.url},
        "event": shapes.event(event),
        "approval": shapes.approval(approval) if approval is not None else None,
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _record(site: Site, notice: Notice, error: str | None) -> None:
    """The outcome; an outage of the command begins and ends with one event, not one a notice."""
    with site.unit(_ACTOR) as unit:
        failing, _ = notices.failing(unit.session)
        if error is None:
            notices.told(unit.session, notice.event_id)
            if failing and not notices.failing(unit.session)[0]:
                emit(unit, "system.notice.recovered", source=JOB)
            return
        notices.failed(unit.session, notice, error, unit.now)
        if not failing:
            emit(unit, "system.notice.failed", source=JOB, error=error)
    log.warning("[Notices] the command did not take a notice: %s", error)
