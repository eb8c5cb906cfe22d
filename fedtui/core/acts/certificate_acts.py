"""Acts on certificates. So far: minting one for a reverse proxy that this node shall trust."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fedtui.core.acts.table import Act, Change, Params, Result, Wanted
from fedtui.core.errors import WrongUsage
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust import signing
from fedtui.core.trust.site import Site
from fedtui.core.trust.x509_reading import key_fingerprint, read_csr

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?")


def _read_mint(_unit: Unit, _site: Site, raw: Mapping[str, Any]) -> Wanted:
    name = str(raw.get("proxy") or "").lower()
    if not _NAME.fullmatch(name):
        raise WrongUsage(
            f"{name[:80]!r} cannot be a proxy's name.",
            cause="It goes into the certificate as a DNS name: small letters, digits, dots and dashes, 42 at most.",
            fix="Choose one like edge-1.",
            code="name_invalid",
        )
    csr_pem = str(raw.get("csr_pem") or "")
    key = key_fingerprint(read_csr(csr_pem).public_key())
    return Wanted({"proxy": name, "csr_pem": csr_pem, "key": key})


def _mint(unit: Unit, site: Site, params: Params) -> Result:
    authority = signing.open_authority(unit.session, site.vault)
    key = read_csr(params["csr_pem"]).public_key()
    row = signing.issue_for_proxy(unit, authority, name=params["proxy"], key=key, lifetime=site.settings.leaf_lifetime)
    return {
        "serial": row.serial,
        "fingerprint": row.fingerprint,
        "not_after": row.not_after.isoformat(),
        "cert_pem": row.cert_pem,
        "next": f"fedtui settings set trusted_proxies {row.fingerprint}",
    }


ACTS: tuple[Act, ...] = (
    Act(
        action="system.federation_certificate_mint",
        read=_read_mint,
        target=lambda _session, _params: {},
        summary=lambda params, _: (
            f"Sign a client certificate for the proxy {params['proxy']} (key {params['key'][:23]}...). "
            "It is believed only once trusted_proxies names it."
        ),
        changes=lambda params, _: (Change(f"certificate of proxy {params['proxy']}", "", "signed by this node's CA"),),
        apply=_mint,
    ),
)
