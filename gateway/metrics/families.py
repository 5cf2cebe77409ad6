"""The metrics by name, made from one reading. Labels are names that admins gave and words of our own; never a person.

Gauges tell how it stands, or what happened in the last five minutes. Counters count from midnight (UTC) on, and
Prometheus' `rate()` and `increase()` take their fall at midnight for what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.metrics.reading import CAP, QUANTILES, SAMPLE, Reading, owners

CONNECTION = ("connection", "role", "plugin")
Labels = tuple[str, ...]


class Readings(Collector):
    """Gives one reading to the library's encoders. Made anew for each scrape; nothing is registered globally."""

    def __init__(self, reading: Reading, version: str) -> None:
        self._reading = reading
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Every metric of the reading."""
        yield _gauge("gateway_info", "The version of the process that answered.", ("version",), {(self._version,): 1})
        yield from _processes(self._reading)
        yield from _connections(self._reading)
        yield from _channels(self._reading)
        yield from _inbox(self._reading)
        yield from _backlog(self._reading)
        yield from _subscriptions(self._reading)
        yield from _clocks(self._reading)
        yield from _lately(self._reading)
        yield from _latencies(self._reading)
        yield from _limits(self._reading)
        yield from _day(self._reading)


def _processes(reading: Reading) -> Iterator[Metric]:
    row = reading.one("PROCESSES")
    workers = "Worker processes that gave a sign of life in the last minute."
    yield _gauge("gateway_workers", workers, (), {(): row["workers"]})
    yield _gauge("gateway_leases", "Shards and lanes that are being worked on.", (), {(): row["leases"]})
    yield _gauge("gateway_outbound_stops", "Stops of outbound traffic in force.", (), {(): row["stops"]})


def _connections(reading: Reading) -> Iterator[Metric]:
    rows = reading.rows["CONNECTIONS"]
    well = {_labels(row): int(row["status"] == "active" and not row["blocked"] and not row["failures"]) for row in rows}
    yield _gauge("gateway_connection_up", "1: active, not blocked, and its last call did not fail.", CONNECTION, well)
    states: dict[Labels, float] = {}
    for row in rows:
        state = "blocked" if row["status"] == "active" and row["blocked"] else row["status"]
        states[(*_labels(row), state)] = 1
    yield _gauge(
        "gateway_connection_status",
        "1 for the connection's state: active, blocked, needs_authorisation or broken.",
        (*CONNECTION, "status"),
        states,
    )
    paused = {(*_labels(row), way): int(row[f"paused_{way}"]) for row in rows for way in ("in", "out")}
    yield _gauge("gateway_connection_paused", "1: paused by a person.", (*CONNECTION, "direction"), paused)
    ages = {_labels(row): _age(reading, row["last_ok_at"]) for row in rows if row["last_ok_at"] is not None}
    yield _gauge("gateway_connection_ok_age_seconds", "Since a call last went well.", CONNECTION, ages)


def _channels(reading: Reading) -> Iterator[Metric]:
    names = {row["id"]: _labels(row) for row in reading.rows["CONNECTIONS"]}
    rows = [(names[row["connection_id"]], row) for row in reading.rows["CHANNELS"] if row["connection_id"] in names]
    yield _gauge(
        "gateway_channel_state",
        "1 for whether news reaches us: proven, suspect, unhealthy or (nothing has come yet) unproven.",
        (*CONNECTION, "state"),
        {(*labels, row["state"]): 1 for labels, row in rows},
    )
    yield _gauge(
        "gateway_channel_proven_age_seconds",
        "Since news was last shown to reach us.",
        CONNECTION,
        {labels: _age(reading, row["proven_at"]) for labels, row in rows if row["proven_at"] is not None},
    )
    yield _gauge(
        "gateway_channel_missed",
        "Things that only polling found since the provider pushed something last.",
        CONNECTION,
        {labels: row["missed"] for labels, row in rows},
    )
    yield _gauge(
        "gateway_channel_silent",
        "1: unusually silent for its hours of the week.",
        CONNECTION,
        {labels: int(row["quiet"]) for labels, row in rows},
    )
    yield _gauge(
        "gateway_channel_access_ends_seconds",
        "Until its access ends, where the provider says that it does soon.",
        CONNECTION,
        {
            labels: (row["expires_at"] - reading.at).total_seconds()
            for labels, row in rows
            if row["expires_at"] is not None
        },
    )


def _inbox(reading: Reading) -> Iterator[Metric]:
    doors = _doors(reading)
    counts: Counter[Labels] = Counter()
    for row in reading.rows["OPEN_DELIVERIES"]:
        counts[(*_door(doors, row), row["state"])] += row["count"]
    yield _gauge(
        "gateway_deliveries",
        f"Deliveries that are not read yet (pending), or could not be (failed); up to {CAP} of each are counted.",
        (*CONNECTION, "state"),
        counts,
    )
    oldest = reading.one("OLDEST_DELIVERY")["at"]
    yield _gauge(
        "gateway_delivery_oldest_pending_seconds",
        "Age of the oldest delivery that is not read yet; 0: all are.",
        (),
        {(): 0.0 if oldest is None else _age(reading, oldest)},
    )


def _backlog(reading: Reading) -> Iterator[Metric]:
    names = {row["id"]: _labels(row) for row in reading.rows["CONNECTIONS"]}
    rows = [row for row in reading.rows["BACKLOG"] if row["connection_id"] in names]
    yield _gauge(
        "gateway_backlog",
        "What waits, by connection: to be fetched, pushed or sent, held or unknown; and what ended blocked or failed. "
        f"Up to {CAP} of each kind are counted.",
        (*CONNECTION, "kind"),
        {(*names[row["connection_id"]], row["kind"]): row["count"] for row in rows},
    )
    yield _gauge(
        "gateway_backlog_oldest_seconds",
        "For how long the oldest of them has been waiting.",
        (*CONNECTION, "kind"),
        {(*names[row["connection_id"]], row["kind"]): _age(reading, row["oldest"]) for row in rows},
    )


def _subscriptions(reading: Reading) -> Iterator[Metric]:
    well: dict[Labels, float] = {
        (row["name"],): int(row["state"] == "active" and row["failing_since"] is None)
        for row in reading.rows["SUBSCRIPTIONS"]
    }
    yield _gauge("gateway_subscription_up", "1: active, and its last attempt did not fail.", ("subscription",), well)
    rows = {row["state"]: row for row in reading.rows["EVENT_DELIVERIES"]}
    states = ("pending", "stopped", "failed")
    yield _gauge(
        "gateway_event_deliveries",
        "Events that subscriptions are to be told of (pending), that wait because theirs is paused or disabled "
        f"(stopped), up to {CAP} together; and that no attempt could tell, among the {SAMPLE} newest (failed).",
        ("state",),
        {(state,): rows[state]["count"] if state in rows else 0 for state in states},
    )
    yield _gauge(
        "gateway_event_delivery_oldest_seconds",
        "For how long the oldest of them has been waiting, or has failed; 0: there is none.",
        ("state",),
        {(state,): _age(reading, rows[state]["oldest"]) if state in rows else 0.0 for state in states},
    )


def _clocks(reading: Reading) -> Iterator[Metric]:
    row = reading.one("CLOCKS")
    yield _gauge("gateway_clocks_running", f"Running clocks, up to {CAP}.", (), {(): row["running"]})
    breached: dict[Labels, float] = {(one["kind"],): one["count"] for one in reading.rows["BREACHED"]}
    yield _gauge("gateway_clocks_breached", "Clocks past their target and not stopped.", ("kind",), breached)
    late = 0.0 if row["next_at"] is None else _age(reading, row["next_at"])
    yield _gauge("gateway_clock_lag_seconds", "By how much the next step of a clock is overdue.", (), {(): late})


def _lately(reading: Reading) -> Iterator[Metric]:
    doors = _doors(reading)
    deliveries: Counter[Labels] = Counter()
    for row in reading.rows["RECENT_DELIVERIES"]:
        deliveries[(*_door(doors, row), row["state"])] += row["count"]
    yield _gauge(
        "gateway_recent_deliveries",
        "Deliveries received in the last five minutes, by what became of them.",
        (*CONNECTION, "state"),
        deliveries,
    )
    names = {row["id"]: _labels(row) for row in reading.rows["CONNECTIONS"]}
    attempts: Counter[Labels] = Counter()
    for row in reading.rows["RECENT_ATTEMPTS"]:
        if row["connection_id"] in names:
            attempts[(*names[row["connection_id"]], row["kind"], row["outcome"])] += row["count"]
    yield _gauge(
        "gateway_recent_attempts",
        "Tries at providers in the last five minutes, by action and outcome.",
        (*CONNECTION, "action", "outcome"),
        attempts,
    )
    yield _gauge(
        "gateway_recent_decisions",
        "Decisions of policies in the last five minutes, by point and verdict.",
        ("point", "verdict"),
        {(row["point"], row["verdict"]): row["count"] for row in reading.rows["RECENT_DECISIONS"]},
    )


def _latencies(reading: Reading) -> Iterator[Metric]:
    for name, help, label, rows in (
        (
            "gateway_station",
            "inbox: received until read. push: written down until the helpdesk had it. send: taken or approved until "
            "published.",
            "station",
            [(row["station"], row) for row in reading.rows["LATENCIES"]],
        ),
        ("gateway_call", "Calls to providers.", "action", [(row["kind"], row) for row in reading.rows["CALLS"]]),
    ):
        yield _gauge(
            f"{name}_seconds",
            f"{help} Quantiles of the last five minutes.",
            (label, "quantile"),
            {
                (word, str(quantile)): seconds
                for word, row in rows
                for quantile, seconds in zip(QUANTILES, row["quantiles"], strict=True)
            },
        )
        yield _gauge(
            f"{name}_samples", "How many the quantiles are of.", (label,), {(word,): row["count"] for word, row in rows}
        )


def _limits(reading: Reading) -> Iterator[Metric]:
    names = owners(reading.rows["APPS"], reading.rows["CONNECTIONS"])
    used = {(row["key"], row["bucket"], row["per_ms"]): row for row in reading.rows["BUDGETS"]}
    windows = ("owner", "bucket", "window_seconds")
    allowed: dict[Labels, float] = {}
    room: dict[Labels, float] = {}
    for limit in reading.limits:
        if limit.key not in names:
            continue
        labels = (names[limit.key], limit.bucket, f"{limit.per_ms / 1000:g}")
        row = used.get((limit.key, limit.bucket, limit.per_ms))
        allowed[labels] = limit.allowed
        room[labels] = max(0, limit.allowed - (row["used"] if row else 0))
    yield _gauge("gateway_rate_limit_allowed", "Requests of a window that are ours.", windows, allowed)
    yield _gauge(
        "gateway_rate_limit_headroom",
        "Requests that may still leave in the window; where each ticket or user has its own, of the fullest.",
        windows,
        room,
    )
    told = {
        (names[row["key"]], row["bucket"]): row
        for row in reading.rows["BUDGETS"]
        if row["per_ms"] == 0 and row["key"] in names
    }
    yield _gauge(
        "gateway_rate_limit_told_remaining",
        "Requests that the provider said are left.",
        ("owner", "bucket"),
        {labels: row["remaining"] for labels, row in told.items() if row["remaining"] is not None},
    )
    yield _gauge(
        "gateway_rate_limit_blocked_seconds",
        "For how long the provider asked to wait from now on.",
        ("owner", "bucket"),
        {
            labels: (row["blocked_until"] - reading.at).total_seconds()
            for labels, row in told.items()
            if row["blocked_until"] is not None
        },
    )


def _day(reading: Reading) -> Iterator[Metric]:
    doors = _doors(reading)
    refused: Counter[Labels] = Counter()
    for row in reading.rows["REFUSALS"]:
        refused[(*doors.get(row["endpoint_id"], _GONE), row["code"])] += row["count"]
    yield _counter(
        "gateway_door_refusals", "Requests that the door turned away today (UTC).", (*CONNECTION, "code"), refused
    )
    names = owners(reading.rows["APPS"], reading.rows["CONNECTIONS"])
    costs = [(names[row["key"]], row) for row in reading.rows["COSTS"] if row["key"] in names]
    yield _counter(
        "gateway_call_cost_usd",
        "What priced calls cost today (UTC), in US dollars.",
        ("owner",),
        {(owner,): float(row["usd"]) for owner, row in costs},
    )
    yield _counter(
        "gateway_priced_calls",
        "Priced calls today (UTC).",
        ("owner",),
        {(owner,): row["calls"] for owner, row in costs},
    )


_GONE = ("", "", "")
"""A connection that was deleted since."""


def _labels(row: Mapping[str, Any]) -> Labels:
    return (row["name"], row["role"], row["plugin"])


def _doors(reading: Reading) -> dict[Any, Labels]:
    """Connections and Apps by id; an App's shared door has the role `app`."""
    found = {row["id"]: (row["name"], "app", row["plugin"]) for row in reading.rows["APPS"]}
    return found | {row["id"]: _labels(row) for row in reading.rows["CONNECTIONS"]}


def _door(doors: Mapping[Any, Labels], row: Mapping[str, Any]) -> Labels:
    return doors.get(row["connection_id"] or row["app_id"], _GONE)


def _age(reading: Reading, at: datetime) -> float:
    return max(0.0, (reading.at - at).total_seconds())


def _gauge(name: str, help: str, labels: Iterable[str], samples: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=list(labels))
    for one, value in sorted(samples.items()):
        family.add_metric(list(one), value)
    return family


def _counter(name: str, help: str, labels: Iterable[str], samples: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(name, help, labels=list(labels))
    for one, value in sorted(samples.items()):
        family.add_metric(list(one), value)
    return family
