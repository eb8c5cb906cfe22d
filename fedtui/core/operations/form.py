"""What an operation takes, as data: the forms that ask for it are made from this.

A form belongs to its operation's declaration. It imports no adapter, so that any of them can draw it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedtui.core.errors import WrongUsage
from fedtui.core.runtime import document_text

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that an operation takes. `read` makes it from the text given, and raises `WrongUsage` for a wrong one.

    With `choices` it is one of them. An empty text is left out, where it is not `required`. `limit` is in characters.
    """

    name: str
    label: str
    default: str = ""
    hint: str = ""
    choices: Sequence[str] = ()
    required: bool = True
    read: Callable[[str], Any] = str.strip
    limit: int = 500


PEER = Parameter("peer", "Peer (URL or ID)", limit=2048)
"""A peer: its URL, its id, or a unique beginning of the id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an operation is asked for: title, consequence, the word that confirms it, and what it takes.

    `fixed` is given to the operation beside the answers. `done` says what happened, once it has run.
    """

    title: str
    consequence: str
    confirm: str
    done: str
    parameters: Sequence[Parameter] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    dangerous: bool = False


def read(form: Form, answers: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of the operation. Raises `WrongUsage` for an answer that its parameter refuses."""
    given = {one.name: one.read(answers[one.name]) for one in form.parameters if answers[one.name].strip()}
    return {**given, **form.fixed}


def document(text: str) -> Any:
    """Return a JSON document. Raises `WrongUsage`."""
    try:
        if text.strip() != "null":  # the operation says what to do instead
            document_text.normalize(text.encode())
        return json.loads(text)
    except ValueError as error:
        raise WrongUsage("This is not JSON.", cause=str(error), fix="Correct it.", code="document_invalid") from error


def pem(text: str) -> str:
    """Return PEM with its line ends, which a field of one line has made spaces."""
    lines = [
        line
        for kind, body in _PEM.findall(text)
        for line in (f"-----BEGIN {kind}-----", *body.split(), f"-----END {kind}-----")
    ]
    return "\n".join([*lines, ""]) if lines else text
