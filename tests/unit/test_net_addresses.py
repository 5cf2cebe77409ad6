"""Which addresses are public, and what an allow list opens."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.net.addresses import AllowList, kind_of

KINDS = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.0", "carrier-grade NAT"),
    ("100.100.100.200", "carrier-grade NAT"),  # a cloud's metadata service
    ("100.127.255.255", "carrier-grade NAT"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "cloud metadata"),
    ("169.254.0.1", "link-local"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "reserved"),
    ("192.0.0.192", "reserved"),  # a cloud's metadata service
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "reserved"),
    ("192.168.0.1", "private"),
    ("192.168.255.255", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::2", "reserved"),
    ("::7f00:1", "reserved"),  # IPv4-compatible 127.0.0.1
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:0.0.0.0", "unspecified"),
    ("::ffff:0:127.0.0.1", "reserved"),  # IPv4-translated
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b::a9fe:a9fe", "link-local"),
    ("64:ff9b::10.1.2.3", "private"),
    ("64:ff9b:1::1", "reserved"),
    ("100::1", "reserved"),
    ("2001::1", "reserved"),  # Teredo
    ("2001:10::1", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "loopback"),
    ("2002:a9fe:a9fe::1", "link-local"),
    ("2002:c0a8:101::1", "private"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),  # a cloud's metadata service
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "reserved"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
    ("1.1.1.1", None),
    ("8.8.8.8", None),
    ("9.255.255.255", None),
    ("11.0.0.0", None),
    ("100.63.255.255", None),
    ("100.128.0.0", None),
    ("126.255.255.255", None),
    ("128.0.0.1", None),
    ("172.15.255.255", None),
    ("172.32.0.1", None),
    ("192.167.255.255", None),
    ("223.255.255.255", None),
    ("2606:4700:4700::1111", None),
    ("2a00:1450:4001:80b::200e", None),
    ("::ffff:8.8.8.8", None),
    ("64:ff9b::808:808", None),
]


@pytest.mark.parametrize(("address", "kind"), KINDS)
def test_kind(address: str, kind: str | None) -> None:
    parsed = ipaddress.ip_address(address)
    assert kind_of(parsed) == kind
    assert AllowList().opens(parsed, "host.example", 443) is (kind is None)


OPENED = [
    (["10.0.0.0/8"], "10.1.2.3", "host", 443, True),
    (["10.0.0.0/8"], "11.1.2.3", "host", 443, True),  # public anyway
    (["10.1.0.0/16"], "10.2.0.1", "host", 443, False),
    (["10.1.2.3"], "10.1.2.3", "host", 443, True),
    (["10.1.2.3"], "10.1.2.4", "host", 443, False),
    (["10.1.2.3/8"], "10.9.9.9", "host", 443, True),
    (["127.0.0.1:9001"], "127.0.0.1", "127.0.0.1", 9001, True),
    (["127.0.0.1:9001"], "127.0.0.1", "127.0.0.1", 9002, False),
    (["127.0.0.1:9001"], "127.0.0.2", "127.0.0.2", 9001, False),
    (["127.0.0.1:9001"], "127.0.0.1", "twin.internal", 9001, True),
    (["localhost:9001"], "127.0.0.1", "localhost", 9001, True),
    (["localhost:9001"], "::1", "LOCALHOST.", 9001, True),
    (["localhost:9001"], "127.0.0.1", "127.0.0.1", 9001, False),
    (["tickets.internal:443"], "192.168.7.7", "tickets.internal", 443, True),
    (["tickets.internal:443"], "192.168.7.7", "other.internal", 443, False),
    (
        ["tickets.internal:443"],
        "169.254.169.254",
        "tickets.internal",
        443,
        False,
    ),  # not by its name server's word
    (["tickets.internal:443"], "168.63.129.16", "tickets.internal", 443, False),
    (["tickets.internal:443"], "0.0.0.0", "tickets.internal", 443, False),
    (["169.254.169.254/32"], "169.254.169.254", "host", 80, True),
    (["[::1]:9001"], "::1", "::1", 9001, True),
    (["[::1]:9001"], "::1", "::1", 80, False),
    (["fd00::/8"], "fd12::1", "host", 443, True),
    (["127.0.0.0/8"], "::ffff:127.0.0.1", "host", 443, True),
    (["::/0"], "::ffff:127.0.0.1", "host", 443, False),
    (["::1"], "::1", "host", 443, True),
    (["0.0.0.0/0"], "0.0.0.0", "host", 443, False),
    (["0.0.0.0/0"], "224.0.0.1", "host", 443, False),
    (["0.0.0.0/0"], "192.168.1.1", "host", 443, True),
]


@pytest.mark.parametrize(("entries", "address", "host", "port", "opened"), OPENED)
def test_allow_list(entries: list[str], address: str, host: str, port: int, opened: bool) -> None:
    assert AllowList.parse(entries).opens(ipaddress.ip_address(address), host, port) is opened


@pytest.mark.parametrize(
    "entry",
    [
        *("", "host", "host:", "host:0", "host:65536", "host:-1", "host:x", "http://host:80", "user@host:80", "*:80"),
        *(":80", "[::1]", "::1:80:x", "[::1:80", "10.0.0.0/33", "host:８０", "a b:80"),
    ],
)
def test_an_entry_that_means_nothing_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError, match="allow_private") as refused:
        AllowList.parse(["10.0.0.0/8", entry])
    assert repr(entry) in str(refused.value)


def test_lists_that_say_the_same_are_equal() -> None:
    """Targets share connections by their list."""
    one = AllowList.parse(["10.0.0.0/8", "Host.Example.:443"])
    assert one == AllowList.parse(["host.example:443", "10.1.2.3/8"])
    assert hash(one) == hash(AllowList.parse(["host.example:443", "10.1.2.3/8"]))
