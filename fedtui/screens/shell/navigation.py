"""The places that a console has been to, for the ways back."""

from __future__ import annotations

MOST_REMEMBERED = 10
WIZARDS = "playbook/"


class Way:
    """Where one came by; it begins at `first`."""

    def __init__(self, first: str) -> None:
        self._been = [first]
        self.begun = WIZARDS.rstrip("/")
        """Where the wizard was begun; in the playbook, where the console began with it."""

    def going(self, place: str) -> None:
        """Somebody goes to a place. A wizard is begun where they are, and one that it leads on to is too; the way back
        to it (`-`) begins none."""
        if place.startswith(WIZARDS) and not self._been[-1].startswith(WIZARDS):
            self.begun = self._been[-1]

    def arrived(self, place: str) -> None:
        """Remember a place, unless one is there already."""
        if place and self._been[-1:] != [place]:
            self._been = [*self._been[1 - MOST_REMEMBERED :], place]

    def before(self) -> str:
        """The place before this one; nothing where there is none."""
        return self._been[-2] if len(self._been) > 1 else ""
