"""The site: what one process needs to work on a node, handed to everything above trust."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from fedtui.core.pki.vault import Vault
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.clock import Clock
from fedtui.core.runtime.daemons import new_holder
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.settings import Settings
from fedtui.core.runtime.unit import Unit, unit_of_work


@dataclass(kw_only=True)
class NodeContext:
    """Settings, clock, database and vault of one process; `name`, `url` and `id` are the node's."""

    settings: Settings
    clock: Clock
    database: Database
    vault: Vault
    id: str
    name: str
    url: str
    holder: str = field(default_factory=new_holder)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when this process has been told to stop: what takes long begins nothing new."""

    def unit(self, actor: Actor, *, correlation_id: str | None = None) -> AbstractContextManager[Unit]:
        """A unit of work for `actor`, at this moment by the site's clock."""
        return unit_of_work(self.database, now=self.clock.now(), actor=actor, correlation_id=correlation_id)

    def read(self) -> AbstractContextManager[Session]:
        """A session that only reads. Close it soon."""
        return self.database.reading()
