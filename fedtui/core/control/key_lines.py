"""Key lines: which SSH key stands for which operator, in the account's `authorized_keys`.

Each line forces a console of that operator alone (sshd(8), AUTHORIZED_KEYS FILE FORMAT):
`restrict` takes away forwarding and whatever else there is, `pty` gives the terminal back.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from fedtui.core.errors import Refused, WrongUsage

MARK = "fedtui:"
"""What the comment of a line begins with; the operator's name follows."""
LONGEST_KEY = 16 * 1024


def key_of(text: str) -> str:
    """`TYPE BASE64` of a public key, without its comment. Raises `WrongUsage` for anything else."""
    lines = [line for line in text[:LONGEST_KEY].splitlines() if line.strip() and not line.startswith("#")]
    words = lines[0].split() if len(lines) == 1 else []
    try:
        # Options before the key would come into force with it: a line must begin with the key's type.
        load_ssh_public_key(" ".join(words[:2]).encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        private = "PRIVATE KEY" in text
        raise WrongUsage(
            "That is a private key." if private else "That is not one SSH public key.",
            cause="It never leaves its owner." if private else "A line is like: ssh-ed25519 AAAAC3... alice@laptop",
            fix="Give the file that ends in .pub.",
            code="ssh_key_invalid",
        ) from error
    return " ".join(words[:2])


def line(key: str, operator: str, command: Sequence[str]) -> str:
    """The line for `authorized_keys`."""
    forced = shlex.join(command).replace("\\", "\\\\").replace('"', '\\"')
    return f'restrict,pty,command="{forced}" {key} {MARK}{operator}'


def add(file: Path, key: str, operator: str, command: Sequence[str]) -> bool:
    """Write the line; whether it is new. Raises `Refused` for a key that stands for another or opens a shell."""
    wanted = line(key, operator, command)
    with _rewriting(file) as lines:
        for known in lines:
            if key not in known or known.lstrip().startswith("#"):
                continue
            if known.endswith(f" {MARK}{operator}"):
                lines[lines.index(known)] = wanted
                return known != wanted
            raise Refused(
                "That key is in authorized_keys already.",
                cause=f"It stands for {known.rpartition(MARK)[2]}." if MARK in known else "It opens a shell there.",
                fix=f"Give {operator} a key of their own, or take that line out of {file} first.",
                code="ssh_key_taken",
            )
        lines.append(wanted)
    return True


def remove(file: Path, operator: str) -> int:
    """Take an operator's lines away; how many there were."""
    if not file.exists():
        return 0
    with _rewriting(file) as lines:
        kept = [known for known in lines if not known.endswith(f" {MARK}{operator}")]
        gone = len(lines) - len(kept)
        lines[:] = kept
    return gone


@contextmanager
def _rewriting(file: Path) -> Iterator[list[str]]:
    """The file's lines; written back whole, private, and only if they changed."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (file.parent / f"{file.name}.fedtui-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = file.read_text().splitlines() if file.exists() else []
        lines = list(before)
        yield lines
        if lines != before:
            fresh = file.parent / f"{file.name}.fedtui-new"
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write("\n".join(lines) + "\n" if lines else "")
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
