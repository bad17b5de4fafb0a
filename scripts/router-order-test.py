#!/usr/bin/env python3
"""Compares the predicted order of two routers with the measured one, on a fleet of simulators.

Usage: scripts/router-order-test.py [PROGRAM] [--model MODEL]     (default: target/debug/servegauge)

Three simulated servers of two sequences each stand behind a proxy that sends each request to the next server, or to the
one with the fewest requests in flight. Both fleets are measured with the same requests at the same rate. A model
predicts both; if none is given, `servegauge calibrate` makes one from a run against a single simulator. The script fails
if a predicted difference of a mean that excludes zero has another sign than the measured one, or if none excludes zero.
P95 is only printed: of a few hundred requests, it may change its sign by chance. Takes two minutes.
"""
import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile

from shared_runs import start_simulator

SERVERS = 3
SIMULATOR = "--max-num-seqs 2 --step-time 4ms --seed 1".split()
LOAD = (
    "--dataset-name random --rng native --random-input-len 64 --random-output-len 60 --random-range-ratio 0.9 "
    "--ignore-eos --save-detailed --no-keep --disable-tqdm --allow-invalid --metric-percentiles 95,99 --model m"
)
FLEET = f"{LOAD} --num-prompts 500 --request-rate 17"
JUDGED = ["ttft.mean", "e2el.mean"]
PRINTED = [*JUDGED, "ttft.p95"]


class Proxy:
    """Sends each request to a server, over a connection of its own, so that the client opens one for each request."""

    def __init__(self, policy, ports):
        self.policy, self.ports = policy, ports
        self.in_flight = [0] * len(ports)
        self.sent = 0
        # The event loop itself does not keep tasks alive.
        self.tasks = set()

    def choose(self):
        self.sent += 1
        turns = [(self.sent + step) % len(self.ports) for step in range(len(self.ports))]
        if self.policy == "round-robin":
            return turns[0]
        return min(turns, key=lambda place: self.in_flight[place])

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        lines = head.split(b"\r\n")
        length = [line for line in lines if line.lower().startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        kept = [line for line in lines if line and not line.lower().startswith(b"connection:")]
        # Not what the client asks the tokenizer.
        is_request = b"completions" in lines[0]
        place = self.choose() if is_request else 0
        self.in_flight[place] += is_request
        try:
            await self.forward(b"\r\n".join(kept + [b"connection: close", b"", b""]) + body, place, writer)
        except ConnectionError:
            pass
        finally:
            self.in_flight[place] -= is_request
            writer.close()

    async def forward(self, request, place, writer):
        answer, server = await asyncio.open_connection("127.0.0.1", self.ports[place])
        server.write(request)
        while piece := await answer.read(65536):
            writer.write(piece)
            await writer.drain()
        server.close()


def run(program, words, folder, name):
    """Runs the program, and returns what it saved."""
    path = os.path.join(folder, f"{name}.json")
    subprocess.run([program, *words.split(), "--result-filename", path], check=True, stdout=subprocess.DEVNULL)
    return path


async def measure(program, policy, ports, folder):
    proxy = Proxy(policy, ports)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    words = f"run {FLEET} --base-url http://127.0.0.1:{port}"
    path = await asyncio.to_thread(run, program, words, folder, policy)
    server.close()
    print(f"{policy}: {proxy.sent} requests")
    return path


def value(path, metric):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    latency, statistic = metric.split(".")
    return result[f"{statistic}_{latency}_ms"]


def calibrated(program, folder):
    """A model of one simulator."""
    simulator, url = start_simulator(program, *SIMULATOR)
    words = f"run {LOAD} --num-prompts 150 --request-rate 4 --base-url {url}"
    path = run(program, words, folder, "single")
    simulator.kill()
    model = os.path.join(folder, "model.json")
    subprocess.run([program, "calibrate", path, "--max-num-seqs", "2", "-o", model], check=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="target/debug/servegauge")
    parser.add_argument("--model")
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    simulators = [start_simulator(program, *SIMULATOR) for _ in range(SERVERS)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            return check(program, args.model, [int(url.rsplit(":", 1)[1]) for _, url in simulators], folder)
    finally:
        for simulator, _ in simulators:
            simulator.kill()


def check(program, model, ports, folder):
    model = model or calibrated(program, folder)
    policies = ["round-robin", "least-requests"]
    base, other = [asyncio.run(measure(program, policy, ports, folder)) for policy in policies]
    words = [program, "predict", model, "--like", base, "--replicas", str(SERVERS), "--router", ",".join(policies), "--json"]
    words += ["--max-num-seqs", "2"]
    answer = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    differences = answer["routers"]["others"][0]["differences"]
    wrong = called = 0
    print(f"{'':12}{'measured':>22}{'predicted':>34}")
    for metric in PRINTED:
        before, after = value(base, metric), value(other, metric)
        found = differences[metric]["difference"]
        is_called = not found["low"] <= 0 <= found["high"]
        called += is_called and metric in JUDGED
        wrong += is_called and metric in JUDGED and (found["point"] < 0) != (after < before)
        interval = f"{found['point']:+.1f} [{found['low']:+.1f}, {found['high']:+.1f}] ms"
        print(f"{metric:12}{before:8.1f} {after - before:+8.1f} ms  {interval:>34}")
    print("the predicted order is the measured one" if not wrong and called else "FAILED: the order differs, or none was called")
    return 0 if called and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
