"""Something else at a node's URL, with the node's own certificate: a proxy that has lost its way. For drills."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fedtui.core.bootstrap import open_node
from fedtui.core.pki import certificates, signing, tls
from fedtui.core.runtime import settings, urls
from fedtui.lab.faults.model import require_practice


def main() -> None:
    """Answer STATUS to every call at the URL of the node in FEDTUI_HOME, until killed."""
    status = int(sys.argv[2])
    node = open_node(settings.load(os.environ))
    require_practice(node.settings.home)
    with node.read() as session:
        row = certificates.current_server(session)
        assert row is not None  # noqa: S101 - the node has served before
        key = signing.private_key_pem(session, node.vault, row)
        context = tls.server_context(row.cert_pem + row.chain_pem, key, certificates.own_ca(session).cert_pem)

    class Answering(BaseHTTPRequestHandler):
        """The same to everybody."""

        def handle_one_request(self) -> None:
            """Read the request's head, and answer."""
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                self.send_error(status)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the terminal is the console's."""

    server = ThreadingHTTPServer(urls.host_port(node.url), Answering, bind_and_activate=True)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
