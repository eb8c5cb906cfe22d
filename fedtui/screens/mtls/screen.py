"""mTLS: every certificate, ours and theirs, what will hurt first on top; and the probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fedtui.screens.dialogs.tell import Shown
from fedtui.screens.mtls.actions import CERT_ACTS
from fedtui.screens.mtls.probe import show_probe
from fedtui.screens.mtls.view import cert_label, cert_name, columns, describe, describe_record
from fedtui.screens.peers.columns import address
from fedtui.screens.records.acting import Acting
from fedtui.screens.records.list_screen import ListScreen
from fedtui.screens.records.model import Kind
from fedtui.screens.records.record_screen import RecordScreen
from fedtui.screens.shell.commands import BY_NAME, CERT, CERTS, DETAIL, EVERYWHERE, TABLE
from fedtui.screens.widgets.window import Empty

if TYPE_CHECKING:
    from fedtui.core.certificates.listing import CertificateLine


class _Certificates(Kind["CertificateLine"]):
    """A probe is no act of the gate; it has its records all the same."""

    def refusal(self, name: str, line: CertificateLine) -> str:
        """Why a command is not for this certificate."""
        if name == "probe" and line.peer_url is None:
            return "There is no peer to probe behind this certificate."
        return super().refusal(name, line)


CERTS_KIND = _Certificates(
    place="certs",
    title="mTLS",
    noun="certificate",
    acts=CERT_ACTS,
    first_sort="urgency",
    empty=Empty("No certificates.", ()),
    columns=columns,
    name=cert_name,
    label=cert_label,
    describe=describe,
    describe_record=describe_record,
    record=lambda node, id: node.certificate_record(id),
)


async def _probe(screen: Acting[CertificateLine], id: str) -> None:
    line = await screen.line_of(id)
    if line is not None and line.peer_id is not None and line.peer_url is not None:
        await show_probe(screen, line.peer_id, address(line.peer_url))


async def _export(screen: Acting[CertificateLine], id: str) -> None:
    node, line = screen.shared.opened_node(), await screen.line_of(id)
    record = await screen.shared.aside.run(lambda: node.certificate_record(id))
    if line is None or record is None:
        screen.say("That certificate is gone.")
        return
    await screen.app.push_screen_wait(Shown(cert_label(line), record.public_pem))


def _begin(screen: Acting[CertificateLine], name: str) -> None:
    [id] = screen.selected(BY_NAME[name])
    work = {"probe": _probe, "export": _export}[name]
    screen.app.run_worker(work(screen, id), group="act", exit_on_error=False)


class CertsScreen(ListScreen["CertificateLine"]):
    """The live table of certificates."""

    kind = CERTS_KIND
    places: ClassVar[tuple[str, ...]] = (CERTS, TABLE, EVERYWHERE)

    def do_probe(self) -> None:
        """Look at the peer's TLS."""
        _begin(self, "probe")

    def do_export(self) -> None:
        """Show the public parts."""
        _begin(self, "export")


class CertScreen(RecordScreen["CertificateLine"]):
    """One certificate in full."""

    kind = CERTS_KIND
    places: ClassVar[tuple[str, ...]] = (CERT, DETAIL, EVERYWHERE)

    def do_probe(self) -> None:
        """Look at the peer's TLS."""
        _begin(self, "probe")

    def do_export(self) -> None:
        """Show the public parts."""
        _begin(self, "export")
