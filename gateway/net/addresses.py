"""Which network addresses a request may go to.

A connection's configuration is written by people who may not be the ones who own the network the gateway stands in, and
a provider's answer may name any URL. So by default only public addresses are reachable; a connection's `allow_private`
list opens others one by one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NEVER = frozenset({"unspecified", "multicast"})
"""Kinds that no list opens: they name no host of their own, and 0.0.0.0 reaches the machine itself."""

BY_RANGE_ONLY = frozenset({"link-local", "cloud metadata"})
"""Kinds that a host:port does not open: whoever controls that name's DNS could read the machine's credentials there."""

# Written out, because what `is_private` and `is_global` know differs between the patch releases of Python 3.11 to 3.13.
_KINDS: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),  # Azure's, on a public address
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved"),  # Teredo, ORCHID and other protocol assignments
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def effective(address: Address) -> Address:
    """The address that is really reached: the IPv4 one inside an IPv4-mapped, 6to4 or NAT64 address, else itself."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


def kind_of(address: Address) -> str | None:
    """What makes an address not public (`loopback`, `private`, …); None for a public one."""
    address = effective(address)
    for network, kind in _KINDS:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return None if address.is_global else "reserved"


@dataclass(frozen=True)
class AllowList:
    """The addresses a connection opened beyond the public ones: ranges, and single host:port pairs."""

    networks: frozenset[Network] = frozenset()
    endpoints: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowList:
        """Read `10.1.0.0/16`, `10.1.2.3`, `fd00::/8`, `tickets.internal:8443`, `127.0.0.1:9001`, `[::1]:9001`.

        Raises ValueError naming the entry that is none of these.
        """
        networks: set[Network] = set()
        endpoints: set[tuple[str, int]] = set()
        for entry in entries:
            try:
                networks.add(ipaddress.ip_network(entry.strip(), strict=False))
                continue
            except ValueError:
                host, _, port = entry.strip().rpartition(":")
            if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536 or not _is_host(host):
                raise ValueError(
                    f"{entry!r} in allow_private is neither an address range (10.1.0.0/16) nor host:port"
                ) from None
            endpoints.add((normal_host(host), int(port)))
        return cls(frozenset(networks), frozenset(endpoints))

    def opens(self, address: Address, host: str, port: int) -> bool:
        """Whether `host`, resolved to `address`, may be spoken to at `port` although the address is not public."""
        kind = kind_of(address)
        if kind is None:
            return True
        if kind in NEVER:
            return False
        reached = effective(address)
        if any(reached in network for network in self.networks):
            return True
        if kind in BY_RANGE_ONLY:
            return False
        return (normal_host(host), port) in self.endpoints or (str(reached), port) in self.endpoints


def normal_host(host: str) -> str:
    """A host as it is compared: lower case, without brackets and final dot, addresses in their one canonical form."""
    host = host.strip("[]").lower().removesuffix(".")
    try:
        return str(effective(ipaddress.ip_address(host)))
    except ValueError:
        return host


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    return bool(host) and not any(character in host for character in ":/@?#[]*\\ \t\r\n")
