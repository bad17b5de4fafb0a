"""How long a run of one request takes, from start to exit."""

import clients
import lab
import truth

TIMES = 20


def start(cores, folder):
    with lab.Simulator(cores, folder, "--ttft", "0s", "--gap", "0s") as server:
        runs = [
            clients.OURS.measure(server, cores, folder, streams=1, requests=1, tokens=1)[1] for _ in range(TIMES)
        ]
    wall = truth.Sample.of([used.wall_s * 1e3 for used in runs])
    cpu = truth.Sample.of([used.cpu_s * 1e3 for used in runs])
    print(f"one request, {TIMES} runs: wall p50 {wall.percentile(50):.1f} ms, max {wall.percentile(100):.1f} ms;", end="")
    print(f" CPU p50 {cpu.percentile(50):.1f} ms; peak {max(used.peak_mb for used in runs):.0f} MB")
