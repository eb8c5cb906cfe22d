"""The generated pages of the manual."""

from __future__ import annotations

import pytest

from tests.docs.pages import PAGES


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_current(name: str) -> None:
    """The committed page equals what the declarations generate now."""
    page = PAGES[name]
    assert page.path.read_text(encoding="utf-8") == page.generate(), (
        f"{page.path.name} is out of date. Run: python -m tests.docs {name} --write"
    )
