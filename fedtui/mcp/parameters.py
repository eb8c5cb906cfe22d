"""What tools take: each parameter spelled once, with its words and its bounds.

The names are those of the contract's objects, so that what one tool answers can be handed to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from fedtui.core.diagnosis import causes
from fedtui.core.errors import WrongUsage

Parameter = tuple[Any, Any]
"""A type, and pydantic's field with words, default and bounds."""
LONGEST_TEXT = 2048
MOST_ENTRIES = 256
MOST_ROWS = 200


def text(words: str, *, longest: int = LONGEST_TEXT) -> Parameter:
    """A text that must be given."""
    return str, Field(description=words, min_length=1, max_length=longest)


def maybe(words: str, *, longest: int = LONGEST_TEXT) -> Parameter:
    """A text that may be left out, or empty, which is the same."""
    return str | None, Field(default=None, description=words, max_length=longest)


def texts(words: str, *, needed: bool = False) -> Parameter:
    """A list of texts."""
    default: Any = ... if needed else None
    return (list[str] if needed else list[str] | None), Field(
        default=default, description=words, max_length=MOST_ENTRIES
    )


def document(words: str) -> Parameter:
    """Any JSON that must be given."""
    return Any, Field(description=words)


def flag(words: str) -> Parameter:
    """Yes or no; no unless given."""
    return bool, Field(default=False, description=words)


def yes_no(words: str) -> Parameter:
    """Yes, no, or as it is."""
    return bool | None, Field(default=None, description=words)


def number(words: str, *, default: int, least: int, most: int) -> Parameter:
    """A whole number."""
    return int, Field(default=default, description=words, ge=least, le=most)


def one_of(words: str, options: Iterable[str], *, default: str | None = None) -> Parameter:
    """One of a few texts."""
    kind: Any = Literal[tuple(options)]
    return (kind if default is not None else kind | None), Field(default=default, description=words)


PEER = text("A peer: its id, a unique beginning of it, or its URL.")
OF_PEER = maybe("Only of this peer: its id, a unique beginning of it, or its URL.")
BRIDGE = text("A bridge: its id, or a unique beginning of it.")
INCIDENT = text("An incident: its id, or a unique beginning of it.")
KIND = text("The resource kind.", longest=80)
GRANT = text("A grant: its id, a unique beginning of it, or fg-<id>.")
REASON = text("Why, for the record and for whoever decides.", longest=500)
OPTIONAL_REASON = maybe("Why, for the record and for whoever decides.", longest=500)
CONTAINING = maybe("Only rows that contain this text.", longest=200)
LIMIT = number("At most this many.", default=50, least=1, most=MOST_ROWS)
OFFSET = number("Leave out this many first.", default=0, least=0, most=1_000_000)
TTL = maybe("How long it lives, like 30d.", longest=20)
SHORT_TTL = flag("Less than 7d is meant.")
ROLE = maybe("What this node is to the peer: symmetric, parent or child.", longest=40)
MODE = maybe("managed_child, autonomous_peer, cluster_member or out_of_band.", longest=40)
GRANT_EDITS: Mapping[str, Parameter] = {
    **{
        key: texts(words)
        for name in ("instance", "network", "cidr")
        for key, words in (
            (f"add_{name}", f"Allow these {name}s, too."),
            (f"remove_{name}", f"Allow these {name}s no longer."),
        )
    },
    **{f"any_{name}": flag(f"Do not restrict by {name}.") for name in ("instance", "network", "cidr")},
    "auto_renew": yes_no("Whether it renews itself."),
}
"""What may be changed of a grant."""
DOCTOR: Mapping[str, Parameter] = {
    "symptom": one_of("Only this symptom. Default: everything.", causes.BY_SYMPTOM),
    "peer": OF_PEER,
    "grant": maybe("Why calls with this grant are turned away: its id."),
    "decision": maybe("Why this call was turned away: a decision's id."),
    "approval": maybe("Why this request is stuck: its id."),
}
"""What the playbook is asked about."""


def model(name: str, takes: Mapping[str, Parameter]) -> type[BaseModel]:
    """The parameters of one tool, as pydantic checks them. Unknown ones are refused."""
    fields: dict[str, Any] = dict(takes)
    return create_model(name, __config__=ConfigDict(extra="forbid", hide_input_in_errors=True), **fields)


def schema(checked: type[BaseModel]) -> dict[str, Any]:
    """The same as JSON Schema, for the client."""
    made = checked.model_json_schema()
    for one in (made, *made.get("properties", {}).values()):
        one.pop("title", None)
    return made


def read(checked: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, checked, without those left out.

    Raises `WrongUsage` naming each field, and never its value: it may be a secret.
    """
    try:
        found = checked.model_validate(dict(given)).model_dump(exclude_none=True)
        anything = {name for name, field in checked.model_fields.items() if field.annotation is Any}
        return {name: value for name, value in found.items() if value != "" or name in anything}
    except ValidationError as error:
        said = [
            f"{'.'.join(str(part) for part in one['loc'])[:80] or 'arguments'}: {one['msg']}"
            for one in error.errors(include_input=False, include_context=False, include_url=False)
        ]
        raise WrongUsage(
            f"{checked.__name__} cannot be called like this.",
            cause="; ".join(said[:10]) + ".",
            fix=f"It takes: {', '.join(checked.model_fields) or 'nothing'}.",
        ) from error
