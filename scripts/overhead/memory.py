"""Peak memory must follow the streams, not the tokens."""

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
