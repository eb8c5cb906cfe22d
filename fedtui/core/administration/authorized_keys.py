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
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from fedtui.core.administration.operators import same
from fedtui.core.errors import Refused, WrongUsage

MARK = "fedtui:"
"""What the comment of a line begins with; the operator's name follows."""
LONGEST_KEY = 16 * 1024
LEAST_RSA_BITS = 2048
TAKEN = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""The types of keys that sshd lets in by default (sshd_config(5), PubkeyAcceptedAlgorithms)."""


def key_of(text: str) -> str:
    """`TYPE BASE64` of a public key, without its comment. Raises `WrongUsage` for anything else, and for a key that
    sshd would not take."""
    lines = [
        line
        for line in text[:LONGEST_KEY].removeprefix("\ufeff").split("\n")
        if line.strip() and not line.startswith("#")
    ]
    words = lines[0].split() if len(lines) == 1 else []
    _require_type_taken(words[0] if words else "")
    try:
        # Options before the key would come into force with it: a line must begin with the key's type.
        key = load_ssh_public_key(" ".join(words[:2]).encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        private = "PRIVATE KEY" in text
        raise WrongUsage(
            "That is a private key." if private else "That is not one SSH public key.",
            cause="It never leaves its owner." if private else "A line is like: ssh-ed25519 AAAAC3... alice@laptop",
            fix="Give the file that ends in .pub.",
            code="ssh_key_invalid",
        ) from error
    if isinstance(key, RSAPublicKey) and key.key_size < LEAST_RSA_BITS:
        raise _not_taken(f"It is an RSA key of {key.key_size} bits; the least is {LEAST_RSA_BITS}.")
    return " ".join(words[:2])


def _require_type_taken(kind: str) -> None:
    if kind == "ssh-dss":
        raise _not_taken("It is a DSA key, which OpenSSH has not taken since version 7.0.")
    if kind.endswith("-cert-v01@openssh.com"):
        raise _not_taken("It is a certificate: sshd takes it for its own authority's key alone (cert-authority).")
    if "ssh" in kind.partition("-")[0] and kind not in TAKEN:
        raise _not_taken(f"sshd takes these types: {', '.join(TAKEN)}.")


def _not_taken(why: str) -> WrongUsage:
    return WrongUsage(
        "sshd would not take that key.",
        cause=why,
        fix="Make another one: ssh-keygen -t ed25519",
        code="ssh_key_invalid",
    )


def line(key: str, operator: str, command: Sequence[str]) -> str:
    """The line for `authorized_keys`."""
    forced = shlex.join(command).replace("\\", "\\\\").replace('"', '\\"')
    return f'restrict,pty,command="{forced}" {key} {MARK}{operator}'


def add(file: Path, key: str, operator: str, command: Sequence[str]) -> bool:
    """Write the line; whether it is new. Raises `Refused` for a key that stands for another or opens a shell."""
    wanted, blob = line(key, operator, command).encode(), key.split()[1].encode()
    with _rewriting(file) as lines:
        for place, known in enumerate(lines):
            if blob not in known.split() or known.lstrip().startswith(b"#"):
                continue
            if same(_owner(known), operator):
                lines[place] = wanted
                return known != wanted
            raise Refused(
                "That key is in authorized_keys already.",
                cause=f"It stands for {_owner(known)}." if _owner(known) else "It opens a shell there.",
                fix=f"Give {operator} a key of their own, or take that line out of {file} first.",
                code="ssh_key_taken",
            )
        if lines and not lines[-1]:
            lines.insert(len(lines) - 1, wanted)
        else:  # an empty file, or one whose last line was not ended
            lines += [wanted, b""]
    return True


def remove(file: Path, operator: str) -> int:
    """Take an operator's lines away, in whatever case the name stands there; how many there were."""
    if not file.exists():
        return 0
    with _rewriting(file) as lines:
        kept = [known for known in lines if not same(_owner(known), operator)]
        gone = len(lines) - len(kept)
        lines[:] = kept
    return gone


def _real(file: Path) -> Path:
    """The file that a path leads to. Raises `WrongUsage` where it can be none."""
    try:
        real = file.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise _no_file(file, str(error)) from error
    if real.exists() and not real.is_file():
        raise _no_file(file, "It is no regular file.")
    return real


def _no_file(file: Path, why: str) -> WrongUsage:
    return WrongUsage(
        f"{file} cannot hold keys.",
        cause=why,
        fix="Name the account's authorized_keys: --file FILE",
        code="file_unusable",
    )


def _owner(known: bytes) -> str:
    """The operator whose line it is; nothing for a line that is none of ours."""
    comment = (known.split() or [b""])[-1]
    return comment.removeprefix(MARK.encode()).decode(errors="replace") if comment.startswith(MARK.encode()) else ""


@contextmanager
def _rewriting(file: Path) -> Iterator[list[bytes]]:
    """The file's lines as sshd reads them: bytes, parted by newlines and nothing else; the last one is empty where
    the file ends in a newline. They are written back whole, private, and only if they changed.

    Where `file` is a link, the file it leads to is written, and the link stays. Other bytes stay as they are.
    """
    file = _real(file)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (file.parent / f"{file.name}.fedtui-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = file.read_bytes() if file.exists() else b""
        lines = before.split(b"\n") if before else []
        yield lines
        after = b"\n".join(lines)
        if after == before:
            return
        fresh = file.parent / f"{file.name}.fedtui-new"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            if file.exists() and os.geteuid() == 0:
                owner = file.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)  # sshd reads it as the account it is for
            out.write(after)
            out.flush()
            os.fsync(descriptor)
        fresh.replace(file)
