"""Peak memory must follow the streams, not the tokens; and a saved request must cost few bytes."""

import clients
import lab

STREAMS = 2000
# Four events a write, so that millions of tokens take seconds and not minutes, and yet no client falls behind: what
# waits in its sockets would make it read in larger pieces, and that is another question.
FLAGS = ["--ttft", "100ms", "--gap", "20ms", "--events-per-write", "4"]


def memory(cores, folder):
    print(f"| {STREAMS} streams, tokens each | peak MB | events/s |\n| --- | --- | --- |")
    for tokens in (1000, 4000):
        with lab.Simulator(cores, folder, *FLAGS) as server:
            report, used = clients.OURS.measure(
                server, cores, folder, streams=STREAMS, requests=STREAMS, tokens=tokens
            )
        print(f"| {tokens} | {used.peak_mb:.1f} | {STREAMS * tokens / report['duration']:.0f} |", flush=True)
    requests(cores, folder)


# One million requests with `--save-detailed` may cost at most this.
MOST_MB_A_MILLION = 400

FEW, MANY = 20_000, 100_000


def requests(cores, folder):
    print("\n| requests, saved with details | peak MB |\n| --- | --- |")
    peaks = {}
    for count in (FEW, MANY):
        with lab.Simulator(cores, folder, "--ttft", "0s", "--gap", "0s") as server:
            _, used = clients.DETAILED.measure(server, cores, folder, streams=64, requests=count, tokens=4)
        peaks[count] = used.peak_mb
        print(f"| {count} | {used.peak_mb:.1f} |", flush=True)
    slope = (peaks[MANY] - peaks[FEW]) / (MANY - FEW)
    million = peaks[MANY] + slope * (1e6 - MANY)
    print(f"\n{slope * 2**20:.0f} bytes a request, {million:.0f} MB a million (at most {MOST_MB_A_MILLION})")
