"""The faults: at least one for every cause that can be staged on two nodes of one machine."""

from __future__ import annotations

from collections.abc import Mapping

from fedtui.lab.faults import calls, key_pairs, node, peer_comparison, remote, requests, tokens
from fedtui.lab.faults.model import Fault

FAULTS: tuple[Fault, ...] = (
    *node.FAULTS,
    *key_pairs.FAULTS,
    *remote.FAULTS,
    *peer_comparison.FAULTS,
    *tokens.FAULTS,
    *calls.FAULTS,
    *requests.FAULTS,
)
BY_NAME: Mapping[str, Fault] = {one.name: one for one in FAULTS}
