"""Runs of any size: memory must not follow the requests, and two processes must not cost more than one."""

import clients
import lab

# The peak of a process whatever the number of requests, and the CPU time of two processes against that of one.
MOST_MB, MOST_RATIO = 300, 1.10

# The server answers at once: the most requests a second.
AT_ONCE = "0s"
# The server takes the larger part of the time, so that one process is never so busy that it reads many answers at one
# wake-up: that alone would halve its time a request.
UNHURRIED = "20ms"
UNHURRIED_REQUESTS = 300_000

COLUMNS = "processes | requests | peak MB of one | CPU µs/request | wall s | result MB | record log MB | report s"

# One token each, 64 at a time.
COMMAND = (
    f"{lab.SERVEGAUGE} run --base-url {{url}} --model servegauge-sim --tokenizer {{tokenizer}}"
    " --dataset-name random --random-input-len 1 --random-output-len 1 --num-prompts {requests} --ignore-eos"
    " --max-concurrency 64 --local-shards {shards} --save-result --result-dir {folder} --result-filename {result}"
    " --disable-tqdm --allow-invalid --no-keep"
)


def many(cores, folder, counts):
    """Runs of each size, as fast as the machine can; then what the division itself costs, on one core: processes on
    two cores also slow each other down, and the server."""
    print(f"| {COLUMNS} |\n|{' --- |' * len(COLUMNS.split('|'))}")
    for count in counts:
        for shards in (1, 2):
            row(cores.everywhere(), folder, shards, count, AT_ONCE)
    one, two = (row(cores, folder, shards, UNHURRIED_REQUESTS, UNHURRIED) for shards in (1, 2))
    print(f"\nCPU of two processes against one, on one core: {two / one:.2f} (at most {MOST_RATIO})\n", flush=True)


def row(cores, folder, shards, count, ttft):
    """Prints the figures of one run, and returns its CPU time a request."""
    client = clients.Client(f"{shards} processes", COMMAND)
    with lab.Simulator(cores, folder, "--ttft", ttft, "--gap", "0s", truth=False) as server:
        _, used = client.measure(server, cores, folder, requests=count, shards=shards)
    result = folder / "result.json"
    shown = lab.run([lab.SERVEGAUGE, "report", result], cores, folder / "report")
    size = {path: path.stat().st_size / 1e6 for path in folder.iterdir()}
    logs = sum(size[path] for path in size if path.suffix == ".reclog")
    cpu_us = used.cpu_s * 1e6 / count
    figures = f"{cpu_us:.1f} | {used.wall_s:.0f} | {size[result]:.1f} | {logs:.0f} | {shown.wall_s:.1f}"
    mark = "" if used.peak_mb <= MOST_MB else f" (more than {MOST_MB})"
    print(f"| {shards} | {count} | {used.peak_mb:.0f}{mark} | {figures} |", flush=True)
    for path in size:
        if path.suffix == ".reclog":
            path.unlink()
    return cpu_us
