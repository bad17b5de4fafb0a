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
    truth: bool = True


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
        # Millions of instants would cost the server more than the events.
        truth=False,
    ),
}

COLUMNS = [
    "client", "TTFT err mean/p99 ms", "ITL err p99 ms", "E2E err mean/p99 ms", "true ITL p99 ms", "events/s",
    "CPU µs/event", "x floor", "with start-up", "start-up CPU s", "peak MB", "server CPU %",
]  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One client under one load."""

    ttft: tuple
    itl: float
    e2e: tuple
    true_itl: float
    events_per_s: float
    cpu_us: float
    whole_cpu_us: float
    startup_s: float
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
    """One cell. The same requests for one token each tell what a run costs before the events do."""
    requests = streams * scene.rounds
    with lab.Simulator(cores, folder, *scene.flags, truth=False) as server:
        _, short = client.measure(server, cores, folder, streams=streams, requests=requests, tokens=1)
    work = lab.BusyLoop(cores) if scene.busy else contextlib.nullcontext()
    theirs = cores.without_priority() if scene.busy else cores
    with lab.Simulator(cores, folder, *scene.flags, truth=scene.truth) as server, work:
        report, used = client.measure(
            server, theirs, folder, streams=streams, requests=requests, tokens=scene.tokens
        )
        server_cpu = server.cpu_s()
    events = requests * (scene.tokens - 1)
    took = report["duration"]
    true = truth.read(server.truth_log, requests) if scene.truth else None
    return Cell(
        ttft=(error(report, true, "ttft", "mean"), error(report, true, "ttft", "p99")),
        itl=error(report, true, "itl", "p99"),
        e2e=(error(report, true, "e2el", "mean"), error(report, true, "e2el", "p99")),
        true_itl=true.itl.percentile(99) if true else None,
        events_per_s=requests * scene.tokens / took,
        cpu_us=(used.cpu_s - short.cpu_s) / events * 1e6,
        whole_cpu_us=used.cpu_s / (requests * scene.tokens) * 1e6,
        startup_s=short.cpu_s,
        peak_mb=used.peak_mb,
        server_share=100 * server_cpu / took,
    )


def error(report, true, latency, statistic):
    """Reported − true, in ms; none where either is silent."""
    reported = report.get(f"{statistic}_{latency}_ms")
    if true is None or reported is None:
        return None
    sample = {"ttft": true.ttft, "itl": true.itl, "e2el": true.e2e}[latency]
    return reported - (sample.mean() if statistic == "mean" else sample.percentile(99))


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
            figure(cell.whole_cpu_us, 2),
            figure(cell.startup_s, 3),
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
