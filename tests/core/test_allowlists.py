"""Allowlists: what may stand in one, in one spelling, and that what is malformed denies."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtui.core.errors import WrongUsage
from fedtui.core.grants import allowlists

UUID = "0195d3a2-7c1e-7000-8000-00000000000e"


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("fd00:12::/48", "fd00:12::/48"),
        ("FD00:12:0::1", "fd00:12::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_has_one_spelling(given_: str, stored: str) -> None:
    """IPv4, IPv6 and IPv4 mapped into IPv6 are stored in their shortest form."""
    assert allowlists.cidr(given_) == stored


@pytest.mark.parametrize(
    "given_",
    ["", "10.0.0.0/33", "10.0.0.300", "10.0.0.1/8", "fd00::/129", "::ffff:10.0.0.1/100", "fe80::1%eth0", "ten", "*"],
)
def test_a_malformed_network_is_refused_by_name(given_: str) -> None:
    """What is no network, or has bits beyond its prefix, is refused, and the field is named."""
    with pytest.raises(WrongUsage, match=r"^cidr: ") as refused:
        allowlists.cidr(given_)
    assert refused.value.code == "cidr_invalid"


def test_a_slip_of_the_prefix_gets_a_suggestion() -> None:
    """10.0.0.1/8 is most likely meant as 10.0.0.0/8, and the refusal says so."""
    with pytest.raises(WrongUsage) as refused:
        allowlists.cidr("10.0.0.1/8")
    assert "10.0.0.0/8" in refused.value.fix


@pytest.mark.parametrize(("column", "name"), [("node_instance_ids", "instance"), ("sdwan_network_ids", "network")])
@pytest.mark.parametrize("given_", ["", "b", UUID[:-1], UUID + "0", UUID.replace("-", ""), "{" + UUID + "}"])
def test_a_malformed_id_is_refused_by_name(column: str, name: str, given_: str) -> None:
    """An id is a UUID in its usual form; anything else is refused, and the field is named."""
    with pytest.raises(WrongUsage, match=f"^{name}: "):
        allowlists.read(column, [given_])


def test_a_list_is_bounded() -> None:
    """More than 256 entries are refused."""
    with pytest.raises(WrongUsage, match="too many"):
        allowlists.read("source_cidrs", [f"10.0.{n // 256}.{n % 256}" for n in range(257)])


networks = st.ip_addresses().flatmap(
    lambda one: st.integers(0, one.max_prefixlen).map(lambda n: str(ipaddress.ip_network((one, n), strict=False)))
)


@given(st.lists(networks, max_size=20))
def test_reading_again_changes_nothing(entries: list[str]) -> None:
    """What `read` stores, it stores the same when read again: one spelling, sorted, each once."""
    once = allowlists.read("source_cidrs", entries)
    assert allowlists.read("source_cidrs", once) == once


@given(st.ip_addresses(v=4), st.lists(networks, min_size=1, max_size=5))
def test_a_mapped_address_counts_as_the_ipv4_it_stands_for(address: ipaddress.IPv4Address, entries: list[str]) -> None:
    """Whatever the list, 192.0.2.7 and ::ffff:192.0.2.7 are allowed alike."""
    stored = allowlists.read("source_cidrs", entries)
    mapped = f"::ffff:{address}"
    assert allowlists.allows_address(stored, str(address)) == allowlists.allows_address(stored, mapped)


@given(networks)
def test_an_address_of_a_network_is_in_it(entry: str) -> None:
    """The first address of a network is allowed by it."""
    network = ipaddress.ip_network(entry)
    assert allowlists.allows_address([allowlists.cidr(entry)], str(network.network_address))


@given(st.lists(st.text(max_size=40), min_size=1), st.none() | st.text(max_size=60))
def test_rubbish_denies_and_never_raises(entries: list[str], supplied: str | None) -> None:
    """A list that came from elsewhere, or a supplied value that is none, denies."""
    readable = {one.strip().lower() for one in entries}
    if supplied is None or supplied.strip().lower() not in readable:
        assert not allowlists.allows_id([one.strip().lower() for one in entries], supplied)
    try:
        ipaddress.ip_address((supplied or "").partition("%")[0])
    except ValueError:
        assert not allowlists.allows_address(entries, supplied)
    else:
        assert allowlists.allows_address(entries, supplied) in (True, False)
