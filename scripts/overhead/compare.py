"""Clients side by side: CPU for an event, and reported latencies against the server's own log."""

import contextlib
import statistics
import sys
from dataclasses import dataclass

import lab
import truth

TTFT_AND_GAP = ["--ttft", "100ms", "--gap", "20ms"]


@dataclass(frozen=True)
class Scene:
    """What the server and the client's core do."""

    title: str
    flags: list
    streams: list
    tokens: int = 128
    rounds: int = 2
    busy: bool = False


SCENES = {
    "own-clocks": Scene("each stream by its own clock", TTFT_AND_GAP, [1, 64, 512, 2000]),
    "lockstep": Scene("all streams write together", [*TTFT_AND_GAP, "--lockstep"], [512, 2000]),
    "busy": Scene("a busy loop on the client's core", TTFT_AND_GAP, [512, 2000], busy=True),
    "batched": Scene(
        "64 events a write, as fast as the client reads",
        ["--ttft", "0s", "--gap", "0s", "--events-per-write", "64"],
        [64],
        tokens=4096,
        rounds=16,
    ),
}

COLUMNS = [
    "client", "TTFT err mean/p99 ms", "ITL err p99 ms", "E2E err mean/p99 ms", "true ITL p99 ms", "events/s",
    "CPU µs/event", "x floor", "other CPU s", "peak MB", "server CPU %",
]  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One client under one load."""

    ttft: tuple
    itl: float
    e2e: tuple
    true_itl: float
    events_per_s: float
    # While requests are on their way; the rest is preparation and report.
    cpu_us: float
    other_cpu_s: float
    peak_mb: float
    server_share: float


def compare(clients, scenes, cores, folder, repeat):
    """Prints a table for each scene and number of streams."""
    for name in scenes:
        scene = SCENES[name]
        for streams in scene.streams:
            cells = {client.name: [] for client in clients}
            # Interleaved, so that a slow minute of the machine falls on all of them.
            for _ in range(repeat):
                for client in clients:
                    print(f"{name}, {streams} streams, {client.name}", file=sys.stderr, flush=True)
                    cells[client.name].append(measure(client, scene, streams, cores, folder))
            table(f"{streams} streams, {scene.title}", cells)


def measure(client, scene, streams, cores, folder):
    requests = streams * scene.rounds
    work = lab.BusyLoop(cores) if scene.busy else contextlib.nullcontext()
    theirs = cores.without_priority() if scene.busy else cores
    with lab.Simulator(cores, folder, *scene.flags) as server, work:
        report, used = client.measure(
            server, theirs, folder, streams=streams, requests=requests, tokens=scene.tokens
        )
        server_cpu = server.cpu_s()
    true = truth.read(server.truth_log, requests)
    took, events = report["duration"], requests * scene.tokens
    traffic = used.cpu.between(true.first_ns, true.first_ns + int(took * 1e9))
    return Cell(
        ttft=(error(report, "ttft", "mean", true.ttft), error(report, "ttft", "p99", true.ttft)),
        itl=error(report, "itl", "p99", true.itl),
        e2e=(error(report, "e2el", "mean", true.e2e), error(report, "e2el", "p99", true.e2e)),
        true_itl=true.itl.percentile(99),
        events_per_s=events / took,
        cpu_us=traffic / events * 1e6,
        other_cpu_s=used.cpu_s - traffic,
        peak_mb=used.peak_mb,
        server_share=100 * server_cpu / took,
    )


def error(report, latency, statistic, true):
    """Reported − true, in ms; none where the client does not report it."""
    reported = report.get(f"{statistic}_{latency}_ms")
    if reported is None:
        return None
    return reported - (true.mean() if statistic == "mean" else true.percentile(99))


def table(title, cells):
    print(f"\n### {title}\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    middle = {name: median(repeats) for name, repeats in cells.items()}
    floor = middle["floor"].cpu_us if "floor" in middle else None
    for name, cell in middle.items():
        times = cell.cpu_us / floor if floor else None
        figures = [
            "/".join(figure(value, 3) for value in cell.ttft),
            figure(cell.itl, 3),
            "/".join(figure(value, 3) for value in cell.e2e),
            figure(cell.true_itl, 2),
            figure(cell.events_per_s, 0),
            figure(cell.cpu_us, 2),
            figure(times, 2),
            figure(cell.other_cpu_s, 3),
            figure(cell.peak_mb, 0),
            figure(cell.server_share, 0),
        ]
        print(f"| {name} | " + " | ".join(figures) + " |")
    sys.stdout.flush()


def figure(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def median(cells):
    """The median of each figure by itself."""

    def of(values):
        if isinstance(values[0], tuple):
            return tuple(of(part) for part in zip(*values))
        return None if values[0] is None else statistics.median(values)

    return Cell(*(of([getattr(cell, field) for cell in cells]) for field in Cell.__dataclass_fields__))
