"""What authors of plugins use around the kit: scaffold, check, twin, dev, fixtures from live traffic.

`gateway-plugin --help` with this distribution alone, `gateway plugin --help` and `gateway twin` with the gateway.
"""
