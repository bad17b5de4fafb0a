"""Requests must leave when they are due, and arrive at the server with the gaps that were asked for."""

import clients
import lab
import truth

FLAGS = ["--ttft", "2ms", "--gap", "1ms"]
# Rate in requests a second, shape of the gaps (`inf` is constant, 1 is Poisson), seconds, workers.
CASES = [(500, "inf", 10, 1), (500, "1", 10, 1), (2000, "1", 10, 1), (2000, "1", 10, 2), (10000, "1", 5, 1)]
COLUMNS = ["arrivals", "workers", "lag p50/p99/max µs", "achieved /s", "gap error p50/p99 µs", "KS of gaps", "KS of times", "5 % critical"]


def pacing(cores, folder):
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    for rate, burstiness, seconds, workers in CASES:
        requests = rate * seconds
        # Two senders need two cores. The second has the server's, which must then give way: the kernel's stamps say when
        # requests arrived there, however late they are read.
        theirs, servers = (cores, cores) if workers == 1 else (cores.everywhere(), cores.without_priority())
        with lab.Simulator(servers, folder, *FLAGS) as server:
            report, _ = clients.OURS_PACED.measure(
                server, theirs, folder, requests=requests, tokens=2, rate=rate, burstiness=burstiness, workers=workers
            )
        times = truth.arrivals_s(server.truth_log, requests)
        lag = truth.Sample.of([s * 1e6 for s in report["queue_times"]])
        lags = "/".join(f"{lag.percentile(p):.0f}" for p in (50, 99, 100))
        kind, judged = constant(times, rate) if burstiness == "inf" else poisson(times, rate)
        print(f"| {kind} {rate}/s | {workers} | {lags} | {(requests - 1) / times[-1]:.1f} | {judged} |", flush=True)


def constant(times, rate):
    off = truth.Sample.of([abs(gap - 1 / rate) * 1e6 for gap in truth.gaps(times)])
    return "constant", f"{off.percentile(50):.0f}/{off.percentile(99):.0f} | - | - | -"


def poisson(times, rate):
    of_gaps, of_times = truth.exponential_distance(truth.gaps(times), rate), truth.uniform_distance(times)
    return "Poisson", f"- | {of_gaps:.4f} | {of_times:.4f} | {truth.critical_distance(len(times)):.4f}"
