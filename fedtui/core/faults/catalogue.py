"""The faults: at least one for every cause that can be staged on two nodes of one machine."""

from __future__ import annotations

from collections.abc import Mapping

from fedtui.core.faults import both_sides, calls, own_part, pairs, remote, requests, tokens
from fedtui.core.faults.model import Fault

FAULTS: tuple[Fault, ...] = (
    *own_part.FAULTS, *pairs.FAULTS, *remote.FAULTS, *both_sides.FAULTS, *tokens.FAULTS, *calls.FAULTS,
    *requests.FAULTS,
)  # fmt: skip
BY_NAME: Mapping[str, Fault] = {one.name: one for one in FAULTS}
