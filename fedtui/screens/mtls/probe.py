"""Showing a probe: from a certificate, and from a peer."""

from __future__ import annotations

from typing import Any

from fedtui.screens.records.acting import Acting


async def show_probe(screen: Acting[Any], wanted: str, whose: str) -> None:
    """Probe a peer in a dialog, live."""
    from fedtui.screens.dialogs.probing import Probing  # here: the first paint is not to wait for it

    node = screen.shared.opened_node()
    await screen.app.push_screen_wait(Probing(whose, lambda tell: node.probe(wanted, tell), screen.shared.acting))
