"""The node's home directory: private to one OS account, and said so when it is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fedtui.core.errors import Unusable

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make(home: Path) -> None:
    """Create `home` for this account alone. An existing directory is left as it is."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(
            f"The home {home} cannot be made.", cause=str(error), fix="Choose another with FEDTUI_HOME=DIR."
        ) from error


def require_private(path: Path) -> None:
    """Refuse a home or key file that other accounts can read, or that another account owns.

    Raises `Unusable`; a path that does not exist passes, since there is nothing to read. So
    does one in systemd's credential directory, which systemd itself keeps to the service: its
    files belong to root and look readable to a group.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and path.parent == Path(credentials):
        return
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unusable(f"{path} cannot be looked at.", cause=str(error), fix=f"See: ls -ld {path}") from error
    if found.st_mode & _OTHERS:
        want = "700" if path.is_dir() else "600"
        raise Unusable(
            f"Other accounts can read {path}.",
            cause=f"Its mode is {stat.filemode(found.st_mode)}; it holds what only this node's account may read.",
            fix=f"chmod {want} {path}",
            code="home_not_private",
        )
    if found.st_uid != os.geteuid():
        raise Unusable(
            f"{path} belongs to another account.",
            cause=f"It is owned by uid {found.st_uid}, and you are uid {os.geteuid()}.",
            fix="Run fedtui as the account that owns the node, or choose another home with FEDTUI_HOME=DIR.",
            code="home_not_yours",
        )


def replace_private(path: Path, content: bytes) -> None:
    """Put `content` in the place of a file, for this account alone, all or nothing. On disk before this returns.

    Where `path` is a link, the file it leads to is replaced, and the link stays.
    """
    path = path.resolve()
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_private(fresh, content)
    fresh.replace(path)


def write_private(path: Path, content: bytes) -> None:
    """Create `path` for this account alone; it must not exist yet. On disk before this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
