"""Telling people: each notice goes to the configured command as JSON on its standard input."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.audit import outbox
from fedtui.core.audit.events import Event, emit
from fedtui.core.audit.outbox import Notice
from fedtui.core.operations.approvals import Approval
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime import child_process, lease
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.lease import Held
from fedtui.core.views import serializers

log = logging.getLogger(__name__)
JOB = "notices"
_ACTOR = Actor("job", JOB, origin=f"job {JOB}")
AT_ONCE = 20
LONGEST_ERROR = 300
LOOK_SECONDS = 0.05
"""Between two looks whether the command has ended, or the daemon is to end."""


def deliver(site: NodeContext, held: Held | None = None) -> Mapping[str, Any]:
    """The job: tell what is due, one after the other. A command that fails is tried again later."""
    command = site.settings.notify_command.strip()
    with site.unit(_ACTOR) as unit:
        if held is not None:
            lease.fence(unit.session, held, now=unit.now, ttl=site.settings.lease_ttl)
        if not command:
            outbox.forget_waiting(unit.session, unit.now)
            return {"configured": False}
        waiting = outbox.due(unit.session, unit.now, limit=AT_ONCE)
    told = failed = 0
    for notice in waiting:
        try:
            error = _tell(site, command, notice)
        except _Stopped:
            break
        told, failed = told + (error is None), failed + (error is not None)
        _record(site, notice, error)
    return {"configured": True, "told": told, "failed": failed}


class _Stopped(Exception):
    """This daemon is to end: the next one tells the notice."""


def _tell(site: NodeContext, command: str, notice: Notice) -> str | None:
    """Run the command once; None, or why it did not take the notice. Raises `_Stopped`."""
    if site.stopping.is_set():
        raise _Stopped
    with site.read() as session:
        event = session.get(Event, notice.event_id)
        if event is None:
            return None
        said = json.dumps(_notice(session, site, event), default=_plain)
    # Files, not pipes: a command that reads nothing, or leaves a process behind, holds nobody up.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(said.encode())
        given.seek(0)
        try:
            running = subprocess.Popen(
                shlex.split(command),
                env=child_process.environment_for_command(os.environ),
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"could not be run: {error}"[:LONGEST_ERROR]
        code = _await(site, running)
        if code is None:
            return f"did not end within {site.settings.notify_timeout.total_seconds():.0f} s"
        if code == 0:
            return None
        errors.seek(max(errors.seek(0, os.SEEK_END) - LONGEST_ERROR, 0))
        words = errors.read().decode(errors="replace").strip().splitlines()
    return f"exit {code}{': ' + words[-1] if words else ''}"[:LONGEST_ERROR]


def _await(site: NodeContext, running: subprocess.Popen[bytes]) -> int | None:
    """The command's exit code; None if it had to be ended, with all that it started. Raises `_Stopped`."""
    until = time.monotonic() + site.settings.notify_timeout.total_seconds()
    while (code := running.poll()) is None:
        if time.monotonic() > until or site.stopping.wait(LOOK_SECONDS):
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            if site.stopping.is_set():
                raise _Stopped
            return None
    return code


def _notice(session: Session, site: NodeContext, event: Event) -> dict[str, Any]:
    asked = event.payload.get("approval_id")
    approval = session.get(Approval, asked) if asked else None
    return {
        "node": {"id": site.id, "name": site.name, "url": site.url},
        "event": serializers.event(event),
        "approval": serializers.approval(approval, site.clock.now()) if approval is not None else None,
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _record(site: NodeContext, notice: Notice, error: str | None) -> None:
    """The outcome; an outage of the command begins and ends with one event, not one a notice."""
    with site.unit(_ACTOR) as unit:
        failing, _ = outbox.failing(unit.session)
        if error is None:
            outbox.told(unit.session, notice.event_id)
            if failing and not outbox.failing(unit.session)[0]:
                emit(unit, "system.notice.recovered", source=JOB)
            return
        outbox.failed(unit.session, notice, error, unit.now)
        if not failing:
            emit(unit, "system.notice.failed", source=JOB, error=error)
    log.warning("[Notices] the command did not take a notice: %s", error)
