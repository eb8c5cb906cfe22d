"""What a tool is: a row, with its name, words, parameters, and a function over the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedtui.core.node import Node
from fedtui.mcp.parameters import Parameter

Given = Mapping[str, Any]
"""The arguments, checked; what was left out is not in it."""
Answer = Mapping[str, Any]
"""A JSON object, times still datetimes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """`run` answers with a JSON object, times still datetimes, or raises a `Problem`.

    `acts`: it changes something, and is left out of a read-only session. `destroys`: it takes
    something away. `calls_out`: it calls other platforms.
    """

    name: str
    words: str
    takes: Mapping[str, Parameter]
    run: Callable[[Node, Given], Answer]
    acts: bool = False
    destroys: bool = False
    calls_out: bool = False
