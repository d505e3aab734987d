"""Measures the gateways in rounds: each round asks every gateway the same questions, one after the other (A B C, A B C).

Machines are noisy, and noise comes in stretches longer than a run of half a second. Neighbours in a round share it, so a
figure is the median over the rounds, and a ratio is the median of the rounds' own ratios.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.bench import load, procfs, sse_load, targets
from tests.bench.interrupts import Interrupts
from tests.bench.load import percentile
from tests.bench.processes import Process, fetch

MANY = 32
EVENTS = 100
GAP_US = 4000
# Short streams for the time to the first chunk: many of them in a run, yet long enough that a gateway which collects shows.
SHORT_EVENTS = 7
SHORT_GAP_US = 2000
# Short streams begun at a constant rate, whatever becomes of them: well below what a gateway can do, so that what its times
# show is the gateway and not a queue. The connections are several times as many as are ever busy at once.
CONSTANT_PER_S = 500
CONSTANT_CONNECTIONS = 128
# A target that carries fewer streams at once than this would queue even so.
LEAST_STREAMS = 16
# Over this time the streams of a run begin: many gaps and an odd number of them, so that their chunks do not keep step.
SPREAD_S = 0.0925
# Events after the content: finish_reason, usage, [DONE].
CLOSING_EVENTS = 3
DIRECT = "direct"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long each kind of run lasts, in seconds, and how many rounds there are."""

    rounds: int
    many_s: float
    one_s: float
    stream_s: float
    burst_s: float
    warm_s: float


FULL = Lengths(rounds=11, many_s=0.6, one_s=0.4, stream_s=0.5, burst_s=0.3, warm_s=1.0)
QUICK = Lengths(rounds=5, many_s=0.4, one_s=0.3, stream_s=0.3, burst_s=0.2, warm_s=0.6)


@dataclass(slots=True)
class Subject:
    """One row under test: what to send, which process to watch, and what was measured, a value a round."""

    case: targets.Case
    port: int
    process: Process | None
    streams: int
    token: str = targets.KEY
    series: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        """Keep one value of one round."""
        self.series.setdefault(name, []).append(value)

    def request(self, *, is_stream: bool) -> load.Request:
        """What this row is asked."""
        headers = (("authorization", f"Bearer {self.token}"), *self.case.headers)
        wires = [
            load.chat_wire(self.port, targets.body_of(self.case.model, is_stream=streams), headers)
            for streams in (False, is_stream)
        ]
        return load.Request(self.port, wires[0], wires[1], is_stream)

    @property
    def is_broken(self) -> bool:
        """Whether it answered wrongly; then nothing more is asked of it."""
        return bool(self.problems)


@dataclass(frozen=True, slots=True)
class Stub:
    """The stub upstream and the knobs it has."""

    port: int
    process: Process
    interrupts: Interrupts

    def turn(self, gap_us: int, events: int = EVENTS) -> None:
        """Set the pace and the length of streams."""
        fetch(self.port, f"/bench?gap_us={gap_us}&events={events}")

    def posts(self) -> int:
        """How many requests it has answered."""
        return int(fetch(self.port, "/bench"))


class Meter:
    """The CPU clocks of the gateway's processes on one side, of the load and the stub on the other."""

    def __init__(self, gateway: Process | None, stub: Process) -> None:
        self.gateway = gateway
        self.stub = [stub.popen.pid]
        self.began = (0.0, 0.0)

    def now(self) -> tuple[float, float]:
        """Seconds used so far on either side."""
        return self.gateway.cpu_s() if self.gateway else 0.0, procfs.cpu_s(self.stub) + time.process_time()

    def start(self) -> None:
        """Count from here."""
        self.began = self.now()

    def read(self) -> tuple[float, float]:
        """Seconds used since the start on either side."""
        gateway_s, load_s = self.now()
        return gateway_s - self.began[0], load_s - self.began[1]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the load against one row."""

    seen: load.Seen
    cpu_s: float
    load_busy: float


def run(subject: Subject, stub: Stub, connections: int, run_s: float, *, events: int = 0) -> Run:
    """Send for `run_s` seconds; count what the gateway's tree of processes used meanwhile.

    events: pieces of content that a stream is to bring; 0: do not stream.
    """
    posts = stub.posts()
    meter = Meter(subject.process, stub.process)
    # Streams begin one after the other, so that their chunks do not come in step.
    spread_s = SPREAD_S if events else 0.0
    with stub.interrupts.held():
        seen = load.run_load(subject.request(is_stream=events > 0), connections, run_s, spread_s, meter.start)
    cpu_s, load_s = meter.read()
    if seen.errors:
        subject.problems.append(f"{seen.errors} errors; the first: {seen.first_error}")
    elif not seen.replies:
        subject.problems.append("no reply within the time of a run")
    elif subject.case.has_upstream and stub.posts() - posts != seen.replies + seen.openings:
        forwarded = stub.posts() - posts - seen.openings
        subject.problems.append(f"{seen.replies} replies, but the upstream saw {forwarded} requests")
    elif events and seen.events != seen.replies * (events + CLOSING_EVENTS):
        subject.problems.append(f"{seen.events} events in {seen.replies} streams of {events + CLOSING_EVENTS}")
    return Run(seen, cpu_s, load_s / seen.elapsed_s)


def measure_many(subject: Subject, stub: Stub, lengths: Lengths) -> None:
    """32 connections: CPU a request, requests a second, latencies of a busy gateway."""
    result = run(subject, stub, MANY, lengths.many_s)
    if subject.is_broken:
        return
    seen = result.seen
    subject.add("cpu_us_per_request", result.cpu_s / seen.replies * 1e6)
    subject.add("requests_per_s", seen.replies / seen.elapsed_s)
    subject.add("p50_us_at_32", percentile(seen.latencies, 0.5) * 1e6)
    subject.add("p99_us_at_32", percentile(seen.latencies, 0.99) * 1e6)
    subject.add("load_busy", result.load_busy)


def measure_one(subject: Subject, stub: Stub, lengths: Lengths) -> None:
    """One connection: latencies of an idle gateway, and its CPU a request when nothing can be shared between two."""
    result = run(subject, stub, 1, lengths.one_s)
    if subject.is_broken:
        return
    subject.add("p50_us_at_1", percentile(result.seen.latencies, 0.5) * 1e6)
    subject.add("p99_us_at_1", percentile(result.seen.latencies, 0.99) * 1e6)
    subject.add("cpu_us_per_request_at_1", result.cpu_s / result.seen.replies * 1e6)


def measure_paced(subject: Subject, stub: Stub, lengths: Lengths) -> None:
    """Streams whose chunks come apart: CPU a chunk, gaps, and whether chunks arrived one by one."""
    if not subject.case.can_stream:
        return
    stub.turn(GAP_US)
    result = run(subject, stub, subject.streams, lengths.stream_s, events=EVENTS)
    if subject.is_broken:
        return
    seen = result.seen
    subject.add("cpu_us_per_chunk", result.cpu_s / seen.events * 1e6)
    subject.add("first_chunk_us_busy", percentile(seen.first_chunks, 0.5) * 1e6)
    subject.add("gap_p50_us", percentile(seen.gaps, 0.5) * 1e6)
    subject.add("gap_p99_us", percentile(seen.gaps, 0.99) * 1e6)
    subject.add("arrivals_per_chunk", seen.arrivals / seen.events)


def measure_burst(subject: Subject, stub: Stub, lengths: Lengths) -> None:
    """Streams written as fast as the stub can: CPU a chunk when chunks may travel together."""
    if not subject.case.can_stream:
        return
    stub.turn(0)
    result = run(subject, stub, subject.streams, lengths.burst_s, events=EVENTS)
    if subject.is_broken:
        return
    subject.add("cpu_us_per_chunk_burst", result.cpu_s / result.seen.events * 1e6)
    subject.add("arrivals_per_chunk_burst", result.seen.arrivals / result.seen.events)


def measure_first(subject: Subject, stub: Stub, lengths: Lengths) -> None:
    """Short streams on one connection: time from the request to the first chunk, with nothing to wait for but the way."""
    if not subject.case.can_stream:
        return
    stub.turn(SHORT_GAP_US, SHORT_EVENTS)
    result = run(subject, stub, 1, lengths.one_s, events=SHORT_EVENTS)
    if not subject.is_broken:
        subject.add("first_chunk_us", percentile(result.seen.first_chunks, 0.5) * 1e6)


def measure_constant(subject: Subject, stub: Stub, lengths: Lengths) -> None:
    """Short streams at a constant rate (open loop): each time counts from the instant at which the stream was due."""
    if not subject.case.can_stream or subject.streams < LEAST_STREAMS:
        return
    stub.turn(SHORT_GAP_US, SHORT_EVENTS)
    posts = stub.posts()
    with stub.interrupts.held():
        seen = sse_load.run_constant_rate(
            subject.port,
            subject.request(is_stream=True).wire,
            rate_per_s=CONSTANT_PER_S,
            seconds=lengths.stream_s,
            connections=CONSTANT_CONNECTIONS,
        )
    if seen.count(sse_load.COMPLETE) != seen.planned:
        subject.problems.append(f"at a constant rate: {seen}")
    elif subject.case.has_upstream and stub.posts() - posts != seen.planned:
        subject.problems.append(f"{seen.planned} streams, but the upstream saw {stub.posts() - posts} requests")
    else:
        for series in (sse_load.FIRST_CHUNK, sse_load.TOTAL, sse_load.GAP, sse_load.LATENESS):
            subject.add(f"constant_{series}_p50_us", seen.percentile(series, 0.5) * 1e6)
            subject.add(f"constant_{series}_p99_us", seen.percentile(series, 0.99) * 1e6)


KINDS = (measure_many, measure_one, measure_paced, measure_burst, measure_first, measure_constant)


def warm_up(subjects: Iterable[Subject], stub: Stub, lengths: Lengths) -> None:
    """Let caches fill and code be compiled before anything counts."""
    for subject in subjects:
        run(subject, stub, MANY, lengths.warm_s)
        if subject.case.can_stream and not subject.is_broken:
            stub.turn(GAP_US)
            run(subject, stub, subject.streams, lengths.stream_s, events=EVENTS)


def measure_rounds(subjects: Sequence[Subject], stub: Stub, lengths: Lengths, say: Say, until: float) -> int:
    """All rounds over all rows; return how many were made before `until` (perf_counter seconds)."""
    for number in range(lengths.rounds):
        say(f"round {number + 1} of {lengths.rounds}")
        for kind in KINDS:
            # Every other round goes backwards, so that nobody always follows the same neighbour.
            for subject in subjects if number % 2 else reversed(subjects):
                if not subject.is_broken:
                    kind(subject, stub, lengths)
        if time.perf_counter() > until:
            say("out of time: the rounds so far are what there is")
            return number + 1
    return lengths.rounds


def median(values: Sequence[float]) -> float | None:
    """The median; None for no values."""
    return statistics.median(values) if values else None


def paired(subject: Subject, other: Subject, name: str, combine: Callable[[float, float], float]) -> float | None:
    """The median over the rounds of `combine(ours, theirs)`; None if either side lacks the series."""
    ours, theirs = subject.series.get(name, ()), other.series.get(name, ())
    return median([combine(mine, their) for mine, their in zip(ours, theirs, strict=False)])


def progress(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
