"""What an operator prefers to see: kept per operator, bounded, gone with the operator."""

from __future__ import annotations

import pytest

from fedtui.core.administration import operators, preferences
from fedtui.core.errors import Problem, Refused, WrongUsage
from fedtui.core.node import Node
from fedtui.core.runtime.actor import Actor


def other(node: Node) -> Actor:
    return node.actor("console")


def test_preferences_belong_to_one_operator(node: Node) -> None:
    """What one operator keeps is read back as it was, another's is another's, and None forgets."""
    view = {"sort": "url", "text": "degraded", "invert": True, "columns": ["state", "url"]}
    node.prefer(other(node), {"view/peers/night": view, "theme": "high-contrast"})
    assert node.preferences() == {"view/peers/night": view, "theme": "high-contrast"}
    with node.unit(other(node)) as unit:
        preferences.put(unit, "bob", {"theme": "light"})
    node.prefer(other(node), {"theme": None})
    assert node.preferences() == {"view/peers/night": view}
    with node.read() as session:
        assert preferences.of(session, "bob") == {"theme": "light"}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"view/peers/../../x": {}}, "preference_name_invalid"),
        ({"view/peers/\x1b[2J": {}}, "preference_name_invalid"),
        ({"view/peers/" + "n" * 33: {}}, "preference_name_invalid"),
        ({"view/peers/long": {"text": "x" * 3000}}, "preference_too_long"),
        ({f"view/peers/n{number}": {} for number in range(101)}, "preferences_full"),
    ],
)
def test_what_is_kept_is_bounded(node: Node, given: dict[str, object], code: str) -> None:
    """A name that is none, a value too long and one too many are refused in words, and nothing of it is kept."""
    with pytest.raises(Problem) as caught:
        node.prefer(other(node), given)
    assert isinstance(caught.value, WrongUsage | Refused)
    assert caught.value.code == code
    assert caught.value.fix
    assert node.preferences() == {}


def test_they_go_with_the_operator(node: Node) -> None:
    """Of a removed operator nothing is kept that a later one of the same name would find."""
    with node.unit(other(node)) as unit:
        operators.add(unit, "bob", operators.PERMISSIONS)
        preferences.put(unit, "bob", {"theme": "light"})
    with node.unit(other(node)) as unit:
        operators.remove(unit, "bob")
    with node.read() as session:
        assert preferences.of(session, "bob") == {}
