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


# The same beside long answers: 128 tokens of 2.6 s each, 64,000 events a second.
READING_FLAGS = ["--ttft", "100ms", "--gap", "20ms"]
READING_RATE, READING_TOKENS, READING_SECONDS = 500, 128, 10
READING_COLUMNS = ["client", "lag by its own account p50/p99/max ms", "lag at the server p50/p99/max ms", "events/s", "CPU µs/event"]


def while_reading(others, cores, folder, repeat):
    """Requests must not wait behind the answers that are being read. Each round has every client, the floor first."""
    print(f"\nconstant {READING_RATE}/s, answers of {READING_TOKENS} tokens\n")
    print("| " + " | ".join(READING_COLUMNS) + " |")
    print("|" + " --- |" * len(READING_COLUMNS))
    requests = READING_RATE * READING_SECONDS
    events = requests * READING_TOKENS
    for _ in range(repeat):
        for client in [clients.FLOOR_PACED, clients.OURS_PACED, *others]:
            with lab.Simulator(cores, folder, *READING_FLAGS) as server:
                report, used = client.measure(
                    server, cores, folder, requests=requests, tokens=READING_TOKENS, rate=READING_RATE,
                    burstiness="inf", workers=1, streams=requests,
                )  # fmt: skip
            times = truth.arrivals_s(server.truth_log, requests)
            own = [lag * 1e3 for lag in report.get("queue_times") or []]
            rate = events / report["duration"]
            row = [client.name, spread(own), spread(lags_ms(times)), f"{rate:.0f}", f"{used.cpu_s / events * 1e6:.2f}"]
            print("| " + " | ".join(row) + " |", flush=True)


def lags_ms(times):
    """How late requests of a constant rate arrived, if the most punctual one was in time."""
    late = [time - index / READING_RATE for index, time in enumerate(times)]
    return [(lag - min(late)) * 1e3 for lag in late]


def spread(values):
    if not values:
        return "-"
    sample = truth.Sample.of(values)
    return "/".join(f"{sample.percentile(p):.2f}" for p in (50, 99, 100))


def constant(times, rate):
    off = truth.Sample.of([abs(gap - 1 / rate) * 1e6 for gap in truth.gaps(times)])
    return "constant", f"{off.percentile(50):.0f}/{off.percentile(99):.0f} | - | - | -"


def poisson(times, rate):
    of_gaps, of_times = truth.exponential_distance(truth.gaps(times), rate), truth.uniform_distance(times)
    return "Poisson", f"- | {of_gaps:.4f} | {of_times:.4f} | {truth.critical_distance(len(times)):.4f}"
