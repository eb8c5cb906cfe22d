"""What an operator can do to certificates from the console, as a table: the question, and the act it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.targets import targets
from fedtui.screens.mtls.view import cert_label
from fedtui.screens.records.model import RecordAct
from fedtui.screens.shell.console_context import ORIGIN

if TYPE_CHECKING:
    from fedtui.core.certificates.listing import CertificateLine
    from fedtui.screens.shell.node_handle import NodeHandle

REASON = Field("reason", "Reason, for the record and the approver", check=required)
WHY = Field("reason", "Reason (may be empty)")
REVOKED_TOLD = {
    "federation_peer": "The peer's next call with it is refused, until it has another.",
    "instance": "The proxy is believed no longer, from its next request on.",
    "server": "This node makes itself another at once.",
}


def _renew(lines: Sequence[CertificateLine], _records: Any) -> Question:
    which = "this certificate" if len(lines) == 1 else f"{len(lines)} certificates"
    told = "The peer is asked for another, for a new key. The present one stays good until that is in use."
    return Question(f"Renew {which}", (told,), "Renew", targets=targets(lines, cert_label))


def _mint(lines: Sequence[CertificateLine], _records: Any) -> Question:
    told = (
        "This node signs another certificate for the peer: for the request it offers, else for the key it has. "
        "The SDWAN Manager delivers it. Another operator has to approve this."
    )
    return Question("Mint again", (told,), "Mint", targets=targets(lines, cert_label), fields=(WHY,))


def _revoke(lines: Sequence[CertificateLine], _records: Any) -> Question:
    [line] = lines
    told = f"{REVOKED_TOLD[line.subject_kind]} There is no way back. Another operator has to approve this."
    return Question(
        "Revoke this certificate for good",
        (told,),
        "Revoke",
        targets=targets(lines, cert_label),
        fields=(REASON,),
        dangerous=True,
    )


def _ours(line: CertificateLine) -> str:
    if line.over:
        return "This certificate is over; another has taken its place."
    return "" if line.direction == "outbound" else "This is for what this node presents; others renew theirs."


def _theirs(line: CertificateLine) -> str:
    if (line.direction, line.subject_kind) != ("inbound", "federation_peer"):
        return "This is for a certificate that a peer presents to this node."
    return ""


def _revocable(line: CertificateLine) -> str:
    if line.over:
        return "This certificate is over already."
    if line.direction == "outbound":
        return "The peer's CA signed it: only their operators can revoke it."
    return "" if line.subject_kind in REVOKED_TOLD else "A CA cannot be revoked by itself."


def _for_peer(action: str) -> Callable[[NodeHandle, CertificateLine, Answers], Any]:
    """The act on the certificate's peer."""

    def perform(node: NodeHandle, line: CertificateLine, answers: Answers) -> Any:
        reason = answers.get("reason", "").strip() or None
        asked = {"peer": line.peer_id}
        return node.request(node.actor(ORIGIN), f"system.federation_certificate_{action}", asked, reason=reason)

    return perform


def _act(action: str, ask: Any, doing: str, done: str, **more: Any) -> RecordAct[CertificateLine]:
    return RecordAct(
        action=f"system.federation_certificate_{action}", target="serial", ask=ask, doing=doing, done=done, **more
    )


CERT_ACTS: Mapping[str, RecordAct[CertificateLine]] = {
    "renew-cert": _act("rotate", _renew, "Renewing", "renewed", fits=_ours, perform=_for_peer("rotate")),
    "mint": _act("mint", _mint, "Minting", "minted; the manager delivers it", fits=_theirs, perform=_for_peer("mint")),
    "revoke-cert": _act("revoke", _revoke, "Revoking", "revoked", fits=_revocable),
}
