"""JSON from elsewhere: its bounds are exact, cheap to find, and found before a parser sees anything."""

from __future__ import annotations

import ast
import contextlib
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedtui
from fedtui.api.bodies import BOUNDS
from fedtui.core.node import Node
from fedtui.core.runtime import bounded_json, document_text
from fedtui.core.runtime.bounded_json import Bounds, TooComplex

KIB = 1024
NO_BOUNDS = Bounds(levels=10**6)
PARSERS = {"loads", "from_json", "model_validate_json", "validate_json", "raw_decode"}
OWN_RECORD = {
    "core/runtime/bounded_json.py": "the one place where JSON of a remote is parsed",
    "core/runtime/document_text.py": "documents, in a process or thread apart",
    "core/access/resources.py": "a stored document, for who shows it to an operator",
    "api/documents.py": "the answer of the process that this node started",
    "cli/access.py": "what the operator gives on the command line",
    "core/control/executions.py": "what was just written by json.dumps",
    "core/playbook/incidents.py": "what was just written by json.dumps",
    "core/acts/gate.py": "parameters that this node sealed",
    "core/acts/auditing.py": "a file that the operator names",
    "mcp/answers.py": "what was just written by json.dumps",
    "demo.py": "a marker that the demo wrote",
    "core/runtime/migrations/versions/0013_resource_quotas.py": "the node's own documents, once",
}
"""Where else JSON is parsed, and why it is no remote's."""


def counted(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(counted(one) for one in inner)


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((depth(one) for one in (value.values() if isinstance(value, dict) else value)), default=0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(VALUES, st.sampled_from([None, 1]))
def test_levels_and_values_are_exact(value: Any, indent: int | None) -> None:
    """Whatever the JSON and its spelling: it passes at its own depth and number of values, and not at one less."""
    content = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    levels, values = depth(value), counted(value)
    bounded_json.check(content, Bounds(levels=levels, values=values))
    if levels:
        with pytest.raises(TooComplex, match="levels"):
            bounded_json.check(content, Bounds(levels=levels - 1))
    with pytest.raises(TooComplex, match="values"):
        bounded_json.check(content, Bounds(levels=levels, values=values - 1))


@pytest.mark.parametrize(
    ("content", "bounds"),
    [
        (b"[" * 33 + b"]" * 33, BOUNDS),
        (b'{"a":' * 33 + b"1" + b"}" * 33, BOUNDS),
        (b"[" + b"1," * 10_000 + b"1]", BOUNDS),
        (b"1" * 65, BOUNDS),
        (b"[-1." + b"0" * 64 + b"]", BOUNDS),
        (b'["' + b"x" * (64 * KIB + 1) + b'"]', BOUNDS),
        (b'["' + b'\\"' * (33 * KIB) + b'"]', BOUNDS),
    ],
)
def test_what_is_beyond_a_bound_reaches_no_parser(content: bytes, bounds: Bounds) -> None:
    """Depth, values, numbers and texts: refused by their bytes."""

    def parser(_content: bytes) -> None:
        raise AssertionError("it was parsed")

    with pytest.raises(TooComplex):
        bounded_json.parse(content, bounds, parser)


@pytest.mark.parametrize(
    "content",
    [
        b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]',
        b'{"a\\"[,,,,,,,,":"\\\\"}',
        b"[1]" + b" " * 1000,
        b'"1' + b"1" * 99 + b'"',
    ],
)
def test_what_stands_in_a_text_is_no_structure(content: bytes) -> None:
    """Brackets, commas and digits within texts count for nothing."""
    assert bounded_json.parse(content, Bounds(levels=1, values=2, number=9), json.loads) == json.loads(content)


HOSTILE = {
    "lists": b"[" * (128 * KIB),
    "lists in turn": b"[]" * (64 * KIB),
    "commas": b"," * (128 * KIB),
    "quotes": b'"' * (128 * KIB),
    "escaped quotes": b'\\"' * (64 * KIB),
    "digits": b"1" * (128 * KIB),
    "numbers": (b"1" * 64 + b",") * (2 * KIB),
    "blanks": b" " * (128 * KIB),
    "closed": b"]" * (128 * KIB),
    "opened and closed": b"][" * (64 * KIB),
    "noise": random.Random(1).randbytes(128 * KIB),  # noqa: S311 - not a secret
    "brackets": bytes(random.Random(2).choices(b'[]{}",:\\1 ', k=128 * KIB)),  # noqa: S311 - not a secret
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_looking_is_cheap_whatever_comes(content: bytes) -> None:
    """128 KiB of anything take the check and the parser some milliseconds of processor time, not seconds."""
    began = time.thread_time()
    with contextlib.suppress(ValueError):
        bounded_json.parse(content, BOUNDS, json.loads)
    assert time.thread_time() - began < 0.1


def test_nothing_is_parsed_in_a_transaction(node: Node) -> None:
    """While a unit, or a reader, is open in a thread, that thread parses no JSON of a remote."""
    with node.unit(node.actor("test")), pytest.raises(RuntimeError, match="open transaction"):
        bounded_json.parse(b"{}", NO_BOUNDS, json.loads)
    with node.read(), pytest.raises(RuntimeError, match="open transaction"):
        bounded_json.parse(b"{}", NO_BOUNDS, json.loads)
    assert bounded_json.parse(b"{}", NO_BOUNDS, json.loads) == {}


def test_json_of_a_remote_is_parsed_in_one_place() -> None:
    """No other module calls a parser of JSON, but for those that parse what no remote sent."""
    root = Path(fedtui.__file__).parent
    parsing = set()
    for file in root.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in PARSERS
                and ast.unparse(call.func) != "tomllib.loads"
            ):
                parsing.add(str(file.relative_to(root)))
            if isinstance(call, ast.Attribute) and call.attr == "json" and ast.unparse(call).startswith("request."):
                parsing.add(f"{file.relative_to(root)}: {ast.unparse(call)}")
    assert parsing <= set(OWN_RECORD), parsing - set(OWN_RECORD)


# --- documents ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"{", b"[NaN]", b"[1e999]", b"[-Infinity]", b'"\\u0000"', b'{"\\ud800": 1}', b"\xff", b"9" * 6000,
     b"[" * 201 + b"]" * 201, b"\xef\xbb\xbf{}", b"{}{}"],
)  # fmt: skip
def test_what_is_no_document_is_refused(content: bytes) -> None:
    """No JSON, null, and what no database keeps."""
    with pytest.raises(ValueError):
        document_text.normalize(content)


@given(VALUES.filter(lambda value: value is not None))
def test_a_document_keeps_its_value_and_its_digest(value: Any) -> None:
    """Whatever the spelling it comes in, text and digest are the same, and the text is the value."""
    try:
        plain = document_text.normalize(json.dumps(value).encode())
    except ValueError:
        return  # a surrogate or NUL
    spaced = document_text.normalize(json.dumps(value, indent=2, ensure_ascii=False).encode())
    assert plain == spaced == document_text.of(value)
    assert json.loads(plain.text) == value
