"""Who acts: an operator, the manager, a job, or a remote peer."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from typing import Literal

ActorKind = Literal["operator", "manager", "job", "peer"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Carried by every unit of work and written into every audit record.

    `uid` is the OS account (None for a remote); `origin` says by which way the act came:
    `cli`, `console`, `api 192.0.2.7`, with ` via ssh 192.0.2.9` added for an SSH session.
    """

    kind: ActorKind
    name: str
    uid: int | None = None
    origin: str = "local"

    def __str__(self) -> str:
        return self.name if self.kind == "operator" else f"{self.kind}:{self.name}"


def os_user() -> str:
    """This process's account by its name; `uid-N` where the system knows none for it, as in many containers."""
    try:
        name = getpass.getuser()
        name.encode()
    except (KeyError, OSError, UnicodeEncodeError):
        return f"uid-{os.getuid()}"
    return name


MANAGER = Actor("manager", "SDWAN Manager", origin="job sdwan_manager")
