"""What reading the server's metrics during a run does to its latencies: interleaved runs with and without, on one server."""

import math
import statistics
import sys

import clients
import lab

# No fixed timing: an engine at work, so that its metrics page has something to say, and scraping something to disturb.
FLAGS = ["--speed", "a100-8b"]
LOAD = {"streams": 64, "requests": 256, "tokens": 64}
WITHOUT = clients.Client("none", clients.OURS.template + " --no-server-metrics")
SCRAPERS = [
    clients.Client(f"every {interval}", clients.OURS.template + f" --metrics-interval {interval}")
    for interval in ("1s", "100ms")
]
FIGURES = {
    "mean TTFT": "mean_ttft_ms", "p99 TTFT": "p99_ttft_ms", "mean TPOT": "mean_tpot_ms", "p99 ITL": "p99_itl_ms",
    "mean E2E": "mean_e2el_ms",
}  # fmt: skip

# All intervals of the table hold together in 95 of 100 tables (Bonferroni).
CONFIDENCE = 1 - 0.05 / (len(FIGURES) * len(SCRAPERS))
# With fewer rounds not even from the least to the greatest difference is an interval of that confidence.
FEWEST = math.ceil(1 - math.log2(1 - CONFIDENCE))


def scraping(cores, folder, rounds):
    rounds = max(rounds, FEWEST)
    everyone = [WITHOUT, *SCRAPERS]
    reports = {client: [] for client in everyone}
    with lab.Simulator(cores, folder, *FLAGS) as server:
        for number in range(rounds):
            # Interleaved, each first in its turn: a slow minute of the machine falls on all of them.
            start = number % len(everyone)
            for client in everyone[start:] + everyone[:start]:
                print(f"round {number + 1} of {rounds}, {client.name}", file=sys.stderr, flush=True)
                reports[client].append(client.measure(server, cores, folder, **LOAD)[0])
    table(reports, rounds)


def table(reports, rounds):
    confidence = f"{100 * CONFIDENCE:.1f} %"
    print(f"\n{rounds} rounds of {LOAD['requests']} requests in {LOAD['streams']} streams; differences are within a round\n")
    print(f"| figure, ms | none | scraping | median | median difference, {confidence} interval | differs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for figure, key in FIGURES.items():
        without = [report[key] for report in reports[WITHOUT]]
        for client in SCRAPERS:
            scraped = [report[key] for report in reports[client]]
            differences = [b - a for a, b in zip(without, scraped)]
            low, high = interval(differences)
            cells = [
                figure,
                f"{statistics.median(without):.3f}",
                client.name,
                f"{statistics.median(scraped):.3f}",
                f"{statistics.median(differences):+.3f} [{low:+.3f}, {high:+.3f}]",
                "no" if low <= 0 <= high else "YES",
            ]
            print("| " + " | ".join(cells) + " |")


def interval(differences):
    """Of their median, whatever their law: between the k-th least and the k-th greatest (the sign test turned around)."""
    ordered, n = sorted(differences), len(differences)
    outside, k = 0.0, 0
    while True:
        outside += 2 * math.comb(n, k) / 2**n
        if outside > 1 - CONFIDENCE:
            break
        k += 1
    return ordered[k - 1], ordered[n - k]
