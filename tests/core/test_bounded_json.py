"""JSON from elsewhere: its bounds are exact, cheap to find, and found before a parser sees anything."""

from __future__ import annotations

import ast
import contextlib
import json
import random
import time
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
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
    "core/grants/resources.py": "a stored document, for who shows it to an operator",
    "api/documents.py": "the answer of the process that this node started",
    "core/operations/form.py": "what the operator types into a form",
    "cli/access.py": "what the operator gives on the command line",
    "core/operations/executions.py": "what was just written by json.dumps",
    "core/diagnosis/incidents.py": "what was just written by json.dumps",
    "core/operations/gate.py": "parameters that this node sealed",
    "core/views/audit_export.py": "a file that the operator names",
    "mcp/answers.py": "what was just written by json.dumps",
    "lab/demo.py": "a marker that the demo wrote",
    "core/runtime/migrations/versions/0013_resource_quotas.py": "the node's own documents, once",
    "core/runtime/migrations/versions/0020_documents_as_sent.py": "the same",
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
    [
        b"",
        b"null",
        b"{",
        b"[NaN]",
        b"[1e999]",
        b"[-Infinity]",
        b'"\\u0000"',
        b'{"\\ud800": 1}',
        b"\xff",
        b"9" * 6000,
        b"[" * 201 + b"]" * 201,
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b'{"a": ' + b"1" * 400 + b".0}",
        b"1" * 400,
        b"-1e400",
        b'{"a": 1, "a": 1}',
        b'[{"b": {"a": 1, "\\u0061": 2}}]',
    ],
)
def test_what_is_no_document_is_refused(content: bytes) -> None:
    """No JSON, null, and what no database keeps."""
    with pytest.raises(ValueError):
        document_text.normalize(content)


@given(VALUES.filter(lambda value: value is not None))
def test_a_document_keeps_its_value_and_its_digest(value: Any) -> None:
    """Whatever the blanks it comes with, text and digest are the same, and the text is the value."""
    try:
        plain = document_text.normalize(json.dumps(value, ensure_ascii=False).encode())
    except ValueError:
        return  # a surrogate or NUL
    spaced = document_text.normalize(json.dumps(value, indent=2, ensure_ascii=False).encode())
    assert plain == spaced == document_text.of(value)
    assert json.loads(plain.text) == value
    escaped = document_text.normalize(json.dumps(value, indent=1).encode())
    assert escaped.text == json.dumps(value, separators=(",", ":"))


SPELLED = st.from_regex(r"-?(0|[1-9][0-9]{0,330})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


@given(st.lists(SPELLED, min_size=1, max_size=5), st.sampled_from(["", " ", "\n\t", "\r\n  "]))
@example(["1e15", "1.10", "-0.0", "3.14159265358979323846264338327950288", "1E+2"], " ")
@example(["1" * 400 + ".0"], "")
def test_numbers_keep_their_spelling_or_are_refused(spelled: list[str], blank: str) -> None:
    """A document is as it was sent, digit by digit, and no longer; what is not finite as a double is none."""
    members = [f'{blank}"a {place}"{blank}:{blank}[{number}]' for place, number in enumerate(spelled)]
    content = "{" + ",".join(members) + blank + "}"
    try:
        found = document_text.normalize(content.encode())
    except ValueError:
        assert not all(isfinite(float(number)) for number in spelled)
        return
    assert all(isfinite(float(number)) for number in spelled)
    assert found.text == "{" + ",".join(f'"a {place}":[{number}]' for place, number in enumerate(spelled)) + "}"


@given(st.text(alphabet='[]{}:,"\\u0061 \n0123456789.eE+-InfityNatrulse', max_size=40).map(str.encode) | st.binary())
@example(b"Infinity")
@example(b'{"a": -Infinity}')
@example(b"1" * 400 + b".0")
def test_what_is_taken_is_json(content: bytes) -> None:
    """Whatever is sent, what is stored of it parses where no constant but JSON's own is taken, and is no longer."""

    def no_constant(name: str) -> None:
        raise AssertionError(name)

    try:
        found = document_text.normalize(content)
    except ValueError as error:
        assert not any(words in str(error) for words in ("Expecting", "utf-8-sig", "sys.", "char "))
        return
    value = json.loads(found.text, parse_constant=no_constant)
    assert value == json.loads(content)
    assert len(found.text.encode()) <= len(content)


@pytest.mark.parametrize("value", [float("inf"), [float("nan")], {"a": [-float("inf")]}, "\x00", {"\ud800": 1}])
def test_what_an_operator_stores_is_json(value: Any) -> None:
    """The same bounds hold for a value that is at hand."""
    with pytest.raises(ValueError):
        document_text.of(value)
