"""The practice range: two federated nodes as a fault may handle them, and the faults staged on them."""

from __future__ import annotations

import os
import subprocess
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import tomli_w

from fedtui.core.errors import CheckFailed, RemoteFailed
from fedtui.core.node import Node
from fedtui.core.peers import listing as peer_listing
from fedtui.core.pki import certificates, key_pairs, tls
from fedtui.core.runtime import child_process, settings
from fedtui.lab.faults.model import THERE, Fault, Look, require_practice
from fedtui.lab.nodes import PROPOSER, DemoNode, Federation, approved, await_listening, until

PATIENCE_SECONDS = 45.0
CALL_SECONDS = 10.0
LEFT = object()


class PracticeRange:
    """Implements `lab.faults.model.Range` on the nodes of a demo."""

    def __init__(self, federation: Federation, say: Callable[[str], None] = lambda _text: None) -> None:
        self._nodes = {member.name: member for member in federation.nodes}
        self._say = say
        self._beside: subprocess.Popen[str] | None = None
        self.over = threading.Event()
        """Set when the range is left: nothing is waited for any more."""

    def member(self, name: str) -> DemoNode:
        """One of the nodes; never one that the demo did not make."""
        found = self._nodes[name]
        require_practice(found.home)
        return found

    def home(self, name: str) -> Path:
        """Where a node lives."""
        return self.member(name).home

    def url(self, name: str) -> str:
        """Where a node is reached."""
        return self.member(name).url

    def opened(self, name: str, operator: str = PROPOSER) -> AbstractContextManager[Node]:
        """The node, as one of its operators."""
        return self.member(name).opened(operator)

    def act(self, name: str, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """An act through the gate, approved by the other operator where it must be."""
        return approved(self.member(name), f"system.{action}", params, "for practice", self._say)

    def start(self, name: str) -> None:
        """Start the daemon, and wait until it listens."""
        member = self.member(name)
        member.daemon.start()
        await_listening(member)

    def stop(self, name: str) -> None:
        """Stop the daemon."""
        self.member(name).daemon.stop()

    def configure(self, name: str, **values: Any) -> None:
        """Set keys of config.toml; None takes one out."""
        file = self.home(name) / settings.CONFIG_FILE
        config = {**tomllib.loads(file.read_text()), **values}
        file.write_text(tomli_w.dumps({key: value for key, value in config.items() if value is not None}))

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` gives as soon as it gives anything. Raises `CheckFailed` when it takes too long, or the range
        is left."""
        self._say(f"waiting until {what}")
        found = until(lambda: LEFT if self.over.is_set() else look(), PATIENCE_SECONDS)
        if found is LEFT:
            raise CheckFailed("The practice is over.", cause="It was left.", code="practice_left")
        if found is None:
            raise CheckFailed(
                "The fault could not be staged.",
                cause=f"Not within {PATIENCE_SECONDS:g} s: {what}.",
                fix="Try again on a machine that is less busy.",
                code="fault_not_staged",
            )
        return found

    def post(
        self,
        name: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        peer: bool = False,
        method: str = "POST",
        bearer: str = "",
        pair: tuple[str, bytes] | None = None,
    ) -> int:
        """A call to a node's API, as a stranger, with the other node's pair, or with one made up; the status."""
        with self.opened(name) as node, node.read() as session:
            anchor = certificates.own_ca(session).cert_pem
        context = tls.client_context([anchor], self._pair() if peer else pair)
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        with httpx.Client(verify=context, trust_env=False, timeout=CALL_SECONDS) as client:
            try:
                sent = None if method == "GET" else body if body is not None else {}
                return client.request(method, self.url(name) + path, json=sent, headers=headers).status_code
            except httpx.HTTPError as error:
                raise RemoteFailed("The practice call failed.", cause=str(error), code="remote_failed") from error

    def _pair(self) -> tuple[str, bytes]:
        """What beta presents to alpha."""
        with self.opened(THERE) as node, node.read() as session:
            # A practised end of the peering leaves a revoked row beside the one that is in use.
            [peer] = [one for one in peer_listing.page(session, sort="url") if one.status != "revoked"]
            pair = key_pairs.pair(session, node.vault, peer.id)
        if pair.certificate is None or pair.private_key_pem is None:
            raise CheckFailed("Beta has no pair to call with.", code="fault_not_staged")
        return pair.certificate.cert_pem + pair.certificate.chain_pem, pair.private_key_pem

    def beside(self, program: str, *words: str) -> None:
        """Run a program beside the nodes; the first word may name a node, whose home it then gets."""
        settings = {}
        if words and words[0] in self._nodes:
            settings = {"FEDTUI_HOME": str(self.home(words[0])), "FEDTUI_OPERATOR": PROPOSER}
        environment = child_process.environment(os.environ, settings)
        self._beside = subprocess.Popen(
            child_process.command(program, *words), env=environment, stdout=subprocess.PIPE, text=True
        )
        if self._beside.stdout is not None:
            self._beside.stdout.readline()

    def stop_beside(self) -> None:
        """End the program that runs beside the nodes."""
        process, self._beside = self._beside, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def staged(federation: Federation, fault: Fault, say: Callable[[str], None]) -> Iterator[tuple[PracticeRange, Look]]:
    """A fault, put into the nodes, until the range is left; and what else the doctor is told to find it."""
    stand = PracticeRange(federation, say)
    try:
        yield stand, fault.stage(stand) or {}
    finally:
        stand.stop_beside()
