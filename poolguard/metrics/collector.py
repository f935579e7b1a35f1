"""Readings into prometheus_client's families, and those into text, in slices short enough for the event loop.

The text costs 5 to 9 µs a sample, nearly all of it in prometheus_client; so a slice is SLICE samples at most.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from math import isinf
from typing import Final

from prometheus_client.core import Metric as Family
from prometheus_client.core import Sample
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from poolguard.core.histogram import Histogram
from poolguard.metrics.catalogue import CATALOGUE, KUBERNETES_EVENTS, LOOP_BLOCKS, LOOP_LAG, WEBHOOK, Metric
from poolguard.metrics.client_readings import client_readings
from poolguard.metrics.error_readings import error_readings
from poolguard.metrics.guard_readings import courier_readings, foreign_readings, guard_readings
from poolguard.metrics.lease_readings import lease_readings
from poolguard.metrics.lock_readings import lock_readings
from poolguard.metrics.pool_readings import ledger_readings, pool_readings
from poolguard.metrics.process import process_readings, settings_readings
from poolguard.metrics.reading import Reading
from poolguard.metrics.relay_readings import relay_readings
from poolguard.metrics.sources import Sources
from poolguard.metrics.transaction_readings import transaction_readings

SLICE: Final = 150
"""Samples that are written before the event loop turns: 1 to 2 ms."""

_EOF: Final = b"# EOF\n"

Encode = Callable[[Collector], bytes]


class PoolguardCollector:
    """Everything that poolguard measures, for a CollectorRegistry of prometheus_client's."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Family]:
        """Read all sources now; families come in the order of the catalogue."""
        read: dict[Metric, list[Reading]] = {}
        for part in self.parts():
            file_under_metric(read, part)
        return [family(metric, read[metric]) for metric in CATALOGUE if metric in read]

    def parts(self) -> list[Iterator[Reading]]:
        """The readings of each source, all as of now, not yet read out."""
        sources = self._sources
        pools = sources.pools()
        parts: list[Iterator[Reading]] = [pool_readings(pool) for pool in pools]
        parts.append(ledger_readings(sources.ledger, pools, sources.clock.monotonic()))
        if sources.relay is not None:
            parts.append(relay_readings(sources.relay, [pool.name for pool in pools]))
            gaps = sources.guard.idle_gaps.seconds if sources.guard is not None else {}
            parts += [transaction_readings(sources.relay.tally, gaps, pool) for pool in pools]
        if sources.guard is not None:
            parts.append(guard_readings(sources.guard, sources.settings.settings))
        if sources.foreign is not None:
            parts.append(foreign_readings(sources.foreign, sources.settings.settings))
        if sources.webhook is not None:
            parts.append(courier_readings(WEBHOOK, sources.webhook))
        if sources.kubernetes is not None:
            parts.append(courier_readings(KUBERNETES_EVENTS, sources.kubernetes))
        if sources.leases is not None:
            parts.append(lease_readings(sources.leases))
        if sources.clients is not None:
            parts.append(client_readings(sources.clients, sources.clock.monotonic()))
        if sources.errors is not None:
            parts.append(error_readings(sources.errors, [pool.name for pool in pools]))
        if sources.locks is not None:
            parts.append(lock_readings(sources.locks))
        parts.append(iter([Reading(LOOP_LAG, (), sources.loop_lag)]))
        parts.append(Reading(LOOP_BLOCKS, (place,), number) for place, number in list(sources.loop_blocks.items()))
        parts.append(settings_readings(sources.settings, sources.loop))
        parts.append(process_readings())
        return parts


class Exposition:
    """The text that Prometheus scrapes."""

    def __init__(self, sources: Sources) -> None:
        self._collector = PoolguardCollector(sources)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Text and content type, at once: OpenMetrics where *accept* asks for it, else the classic format."""
        encode, content_type = choose_encoder(accept)
        return b"".join(self._slices(encode)), content_type

    async def render_in_turns(self, accept: str = "") -> tuple[bytes, str]:
        """The same, letting the event loop turn after each slice."""
        encode, content_type = choose_encoder(accept)
        text = []
        for part in self._slices(encode):
            text.append(part)
            await asyncio.sleep(0)
        return b"".join(text), content_type

    def _slices(self, encode: Encode) -> Iterator[bytes]:
        read: dict[Metric, list[Reading]] = {}
        for part in self._collector.parts():
            file_under_metric(read, part)
            yield b""
        text, samples = [], 0
        for metric in CATALOGUE:
            whole = family(metric, read.get(metric, ()))
            for start in range(0, len(whole.samples), SLICE):
                piece = Family(whole.name, whole.documentation, whole.type)
                piece.samples = whole.samples[start : start + SLICE]
                text.append(_encoded(encode, piece, with_header=start == 0))
                samples += len(piece.samples)
                if samples >= SLICE:
                    yield b"".join(text)
                    text, samples = [], 0
        yield b"".join([*text, _ending(encode)])


def file_under_metric(read: dict[Metric, list[Reading]], readings: Iterable[Reading]) -> None:
    """Add *readings* to *read*: the text format wants a family's samples together."""
    for reading in readings:
        read.setdefault(reading.metric, []).append(reading)


def family(metric: Metric, readings: Iterable[Reading]) -> Family:
    """*readings*, all of *metric*, as prometheus_client's."""
    name = metric.name.removesuffix("_total").removesuffix("_info")
    made = Family(name, metric.help, metric.kind.value)
    for reading in readings:
        labels = dict(zip(metric.labels, reading.labels, strict=True))
        if isinstance(reading.value, Histogram):
            made.samples.extend(_histogram_samples(name, labels, reading.value))
        else:
            made.samples.append(Sample(metric.name, labels, reading.value))
    return made


def _histogram_samples(name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[Sample]:
    count = 0
    for bound, count in histogram.cumulative():
        yield Sample(f"{name}_bucket", {**labels, "le": _bound_label(bound)}, count)
    yield Sample(f"{name}_count", labels, count)
    yield Sample(f"{name}_sum", labels, histogram.total)


def _bound_label(bound: float) -> str:
    # As OpenMetrics 1.0.0 wants it ("Considerations: Canonical Numbers"): 0.005, 5.0, +Inf.
    return "+Inf" if isinf(bound) else repr(float(bound))


class _One:
    def __init__(self, piece: Family) -> None:
        self._piece = piece

    def collect(self) -> Iterable[Family]:
        return [self._piece]


class _Nothing:
    def collect(self) -> Iterable[Family]:
        return []


def _encoded(encode: Encode, piece: Family, *, with_header: bool) -> bytes:
    text = encode(_One(piece)).removesuffix(_EOF)
    while not with_header and text.startswith(b"#"):
        text = text.partition(b"\n")[2]
    return text


def _ending(encode: Encode) -> bytes:
    # OpenMetrics 1.0.0 ends in `# EOF`, the classic format in nothing.
    return encode(_Nothing())
