"""The disk under a folder: whether it takes what is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

LEAST_FREE = 256 * 1024
"""Bytes without which SQLite's log cannot grow by the next few transactions."""


def trouble(folder: Path) -> str | None:
    """Why nothing more can be written in a folder, in words; None where it can, as far as is known."""
    if is_read_only(folder):
        return f"the file system of {folder} is read-only"
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    return f"the disk of {folder} is full: {free} bytes are left" if free < LEAST_FREE else None


def is_read_only(folder: Path) -> bool:
    """Whether a folder's file system takes nothing, by its own word or by what it does; no, where it cannot tell."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY) or _takes_no_file(folder)
    except OSError:
        return False


def _takes_no_file(folder: Path) -> bool:
    """Whether a file system that does not call itself read-only is: Linux makes one so that is found damaged."""
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))  # without a name: it leaves nothing behind
    except OSError as error:
        return error.errno == errno.EROFS
    return False
