"""Tools on certificates beyond looking, rotating and revoking. No private key goes in or comes out here."""

from __future__ import annotations

from fedtui.core.certificates import operations as certificate_operations
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import certificates
from fedtui.core.protocol import probe as probing
from fedtui.mcp.acting import ORIGIN, act
from fedtui.mcp.parameters import OPTIONAL_REASON, PEER, maybe, text
from fedtui.mcp.table import Answer, Given, Tool

PEM_LIMIT = 64 * 1024


def _authority(node: Node, _given: Given) -> Answer:
    with node.read() as session:
        row = certificates.own_ca(session)
    return {
        "subject": row.subject,
        "fingerprint": row.fingerprint,
        "not_after": row.not_after,
        "cert_pem": row.cert_pem,
    }


def _request(node: Node, given: Given) -> Answer:
    return certificate_operations.request_for(node, node.actor(ORIGIN), given["peer"])


def _probe(node: Node, given: Given) -> Answer:
    with node.read() as session:  # a peer, not any address that a client thinks of
        found = peers.find(session, given["peer"]).id
    return probing.shape(node.probe(found, lambda _step: None))


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="system_sdwan_get_federation_ca",
        words="This node's own CA: its fingerprint, for the other side to compare, and its certificate.",
        takes={},
        run=_authority,
    ),
    Tool(
        name="system_sdwan_probe_federation_peer",
        words="Look at a peer's TLS step by step, and say what is wrong.",
        takes={"peer": PEER},
        run=_probe,
        calls_out=True,
    ),
    Tool(
        name="system_sdwan_get_federation_certificate_request",
        words="This node's signing request to a peer, for that peer's operator to sign; made if there is none. "
        "Its key stays in this node's vault.",
        takes={"peer": PEER},
        run=_request,
        acts=True,
    ),
    act(
        "system_sdwan_mint_federation_certificate",
        "Sign a certificate for a peer. Needs approval; system_sdwan_get_approval_request then has the certificate.",
        {
            "peer": PEER,
            "csr_pem": maybe(
                "Its signing request, PEM. Without: the one it offers, else the key that it has.", longest=PEM_LIMIT
            ),
            "reason": OPTIONAL_REASON,
        },
        "system.federation_certificate_mint",
    ),
    act(
        "system_sdwan_store_federation_certificate",
        "Present a certificate that a peer signed for this node's own request, from now on. "
        "One with a key of its own is stored by a person: fedtui certs store PEER --cert FILE --key FILE.",
        {
            "peer": PEER,
            "cert_pem": text("The certificate, PEM.", longest=PEM_LIMIT),
            "chain_pem": maybe("What it chains by, PEM.", longest=PEM_LIMIT),
            "reason": OPTIONAL_REASON,
        },
        "system.federation_certificate_store",
        calls_out=True,
    ),
    act(
        "system_sdwan_trust_federation_ca",
        "Know a peer's server by another CA from now on, and by no other. Needs approval.",
        {
            "peer": PEER,
            "ca_fingerprint": text("SHA-256 of the CA, as its operators read it out over another channel."),
            "reason": OPTIONAL_REASON,
        },
        "system.federation_certificate_anchor",
        destroys=True,
        calls_out=True,
    ),
)
