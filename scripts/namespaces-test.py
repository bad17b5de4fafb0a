#!/usr/bin/env python3
"""Sends shared runs from four network namespaces, as four pods of a Kubernetes Job see each other, and checks the results.

Usage: scripts/namespaces-test.py [PROGRAM] [CASE ...]     (default: target/debug/servegauge, all cases)

Each namespace has a host name and a table of hosts of its own, as a pod and its headless Service have. The processes get
the arguments and the environment that `servegauge launch kubernetes` writes. Relays of different delays are between them
and shard 0, and some of their clocks are wrong. The simulator's own log says when each request really arrived.
Needs root, `ip`, and a debug build, whose wall clock can be set for a test. Without root or `ip`, it says so and runs nothing.
"""
import fcntl
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

import pods
from pods import COUNT, NAME, PORT, REQUESTS, SECONDS, SharedRun
from shared_runs import Relay

PROGRAM = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/debug/servegauge")
# Seconds from a shard to shard 0 and back. Where the ways differ, the clocks are wrongly related by half of the difference.
DELAYS = {1: (0.005, 0.005), 2: (0.005, 0.005), 3: (0.002, 0.008)}
STEP, DRIFT = -2.0, 500e-6
# The monotonic clock of a host that was booted a day earlier.
OTHER_BOOT = {"unshare": ["--time", "--monotonic", "100000"]}
# What a busy machine does to a run, and no mistake of the shards.
OF_A_BUSY_MACHINE = {"schedule_lag", "shard_lag", "read_delay", "client_cpu", "achieved_rate", "merged_reads", "bursts"}

failed = 0


def check(is_so, what, figures=""):
    global failed
    failed += not is_so
    print(f"{'ok    ' if is_so else 'FAILED'}  {what}{': ' if figures else ''}{figures}", flush=True)


def check_verdict(run, codes, invalid=frozenset()):
    """The exit codes, that everything is measured, and the reasons of the verdict."""
    if not run.result:
        check(False, "there is a result", f"exit codes {run.codes}: {[pod.says()[-300:] for pod in run.pods]}")
        return False
    result, why = run.result, run.why_invalid()
    if why - invalid and why - invalid <= OF_A_BUSY_MACHINE:
        codes = [3, *codes[1:]]
    check(run.codes == codes, "exit codes", f"{run.codes}")
    check(not (why - invalid) - OF_A_BUSY_MACHINE and invalid <= why, "verdict",
          f"INVALID by {', '.join(sorted(why))}" if why else "VALID")
    return True


def check_all_measured(run):
    completed, failures = run.result["completed"], run.result["failed"]
    is_whole = [record["ordinal"] for record in run.records()] == list(range(REQUESTS))
    check(is_whole and completed == REQUESTS and failures == 0 and run.seen == REQUESTS,
          "all requests are measured once", f"{completed} of {REQUESTS}, the server saw {run.seen}")


def check_clocks(run, truth):
    """The offsets of the wall clocks before the load, against the truth in seconds, and their uncertainty."""
    for pod in run.pods[1:]:
        clocks, share = pod.in_log("clocks"), pod.in_log("share")
        ahead, doubt = clocks["before"]["ahead_ns"] / 1e9, clocks["before"]["doubt_ns"] / 1e9
        error = ahead - truth.get(pod.index, 0.0)
        least = sum(DELAYS[pod.index]) / 2
        check(abs(error) <= doubt, f"shard {pod.index} ({share['host']}): the offset of its wall clock",
              f"{ahead:.4f} s, {error * 1e3:+.2f} ms from the truth, known to {doubt * 1e3:.2f} ms")
        check(least <= doubt <= least + 0.010, f"shard {pod.index}: uncertainty at least half of the round trip",
              f"{doubt * 1e3:.2f} ms >= {least * 1e3:.1f} ms")
        bound = (clocks["before"]["doubt_ns"] + clocks["after"]["doubt_ns"]) / clocks["apart_ns"] * 1e9
        check(abs(clocks["drift_ppb"]) <= bound, f"shard {pod.index}: no drift of its monotonic clock",
              f"{clocks['drift_ppb'] / 1e3:+.0f} ppm, at most {bound / 1e3:.0f}")
        check(share["host"] == f"{NAME}-{pod.index}", f"shard {pod.index}: its log names its pod", share["host"])


def check_starts(run):
    """When each shard began, by the server's clock: when a request was read there, less when it was written after t0."""
    starts = {}
    for index in range(COUNT):
        starts[index] = min(true["read_ns"] / 1e9 - record["written_s"] for record, true in run.of_shard(index))
    for pod in run.pods[1:]:
        skew = starts[pod.index] - starts[0]
        doubt = pod.in_log("clocks")["before"]["doubt_ns"] / 1e9
        first, true = run.of_shard(pod.index)[0]
        late = true["read_ns"] / 1e9 - starts[0] - first["due_s"]
        check(abs(skew) <= doubt + 0.001, f"shard {pod.index}: began with shard 0 by the server's clock",
              f"{skew * 1e3:+.2f} ms, known to {doubt * 1e3:.2f} ms; its first request {late * 1e3:+.2f} ms after its due time")
    worst, figure = max(pod.in_log("clocks")["before"]["doubt_ns"] / 1e9 for pod in run.pods[1:]), run.figure("start_skew")
    check(figure <= worst + 0.001, "the start skew in the result is within the uncertainty", f"{figure * 1e3:.3f} ms")


def check_latencies(run):
    """Each latency against the server's time for the same request, and the shards against each other."""
    medians = {}
    for index in range(COUNT):
        extra = [record["done_s"] - record["sent_s"] - (true["done_ns"] - true["read_ns"]) / 1e9
                 for record, true in run.of_shard(index)]
        ttft = [record["ttft_s"] for record, _ in run.of_shard(index)]
        medians[index] = statistics.median(extra)
        # A busy machine delays some requests by much less than the clocks are wrong.
        check(abs(medians[index] - medians[0]) <= 0.005 and -0.001 <= min(extra) and max(extra) <= 1.0,
              f"shard {index}: latencies less the server's own time are those of shard 0",
              f"median {medians[index] * 1e3:.2f} ms, {min(extra) * 1e3:.2f} to {max(extra) * 1e3:.2f} ms; "
              f"median TTFT {statistics.median(ttft) * 1e3:.1f} ms")


def clocks_case():
    run = SharedRun(PROGRAM, clocks={1: OTHER_BOOT, 2: {"wall": "offset=3600s"}})
    if check_verdict(run, [0, 0, 0, 0]):
        check_all_measured(run)
        check_clocks(run, {2: 3600.0})
        check_starts(run)
        check_latencies(run)
    return run


def step_case():
    """The wall clock of shard 3 drifts, and steps back in the middle of the load. That of shard 0 is wrong, too."""
    step = f"offset=-30s,step={STEP:.0f}s@9s,drift={DRIFT * 1e6:.0f}ppm"
    run = SharedRun(PROGRAM, clocks={0: {"wall": "offset=7s"}, 1: OTHER_BOOT, 3: {"wall": step}})
    if not check_verdict(run, [3, 0, 0, 0], invalid={"wall_clock"}):
        return run
    check_all_measured(run)
    clocks = run.pods[3].in_log("clocks")
    doubt = (clocks["before"]["doubt_ns"] + clocks["after"]["doubt_ns"]) / 1e9
    before, gained = clocks["before"]["ahead_ns"] / 1e9, (clocks["after"]["ahead_ns"] - clocks["before"]["ahead_ns"]) / 1e9
    truth = STEP + DRIFT * clocks["apart_ns"] / 1e9
    # It drifts from the start of the process on.
    check(-37 - doubt <= before <= -37 + doubt + DRIFT * 30, "shard 3: the offset of its wall clock",
          f"{before:.4f} s, -37 s and a drift")
    check(abs(gained - truth) <= doubt, "shard 3: step and drift are in its log",
          f"{gained:.4f} s over {clocks['apart_ns'] / 1e9:.1f} s, {truth:.4f} by the truth, known to {doubt * 1e3:.1f} ms")
    step = run.figure("wall_clock")
    check(abs(step + STEP) <= 0.01, "the check of the wall clock has the step", f"{step:.4f} s")
    check_starts(run)
    check_latencies(run)
    return run


def drops_case():
    """All connections to shard 0 are reset three times a second, from the first request to the end."""
    def drop(run):
        def loop():
            while run.is_running():
                for relay in relays.values():
                    relay.drop()
                time.sleep(0.33)
        threading.Thread(target=loop, daemon=True).start()
    before = sum(relay.dropped for relay in relays.values())
    run = SharedRun(PROGRAM, during=drop)
    dropped = sum(relay.dropped for relay in relays.values()) - before
    check(dropped > 3 * SECONDS, "connections are dropped", f"{dropped}")
    if check_verdict(run, [0, 0, 0, 0]):
        check_all_measured(run)
        check_starts(run)
    return run


def check_lost_shard_is_named(run):
    """Whether the report and the saved result name shard 2, and no other."""
    with open(f"{run.folder}/0/out") as out:
        places = {"saved result": json.dumps(run.result["servegauge"]["validity"]), "report": out.read()}
    for place, text in places.items():
        named = set(re.findall(r"shard (\d) on (sg-\d)", text))
        check(named == {("2", f"{NAME}-2")}, f"the {place} names the lost shard, and no other", str(sorted(named)))
    check("Other clients" not in places["report"], "the report does not blame other clients for the requests of shard 2")


def link_case():
    """The link of shard 2 goes down for good in the middle of the load."""
    def cut(run):
        time.sleep(SECONDS / 3)
        pods.set_link(2, "down")
    try:
        run = SharedRun(PROGRAM, during=cut)
    finally:
        pods.set_link(2, "up")
    if not run.result:
        check_verdict(run, [3, 0, 3, 0])
        return run
    check(run.codes == [3, 0, 3, 0], "exit codes, and all end by themselves", f"{run.codes}")
    says = [line for line in run.pods[0].says().splitlines() if "shard" in line and "waits for" not in line]
    named = re.findall(r"shard (\d) on (\S+) is lost", "\n".join(says))
    check(named and set(named) == {("2", f"{NAME}-2")}, "shard 0 names the lost shard, and no other", " / ".join(says))
    result = run.result
    has = {record["ordinal"] for record in run.records()}
    missing = set(range(REQUESTS)) - has
    check(bool(missing) and all(ordinal % COUNT == 2 for ordinal in missing), "only requests of shard 2 are missing",
          f"{len(missing)} of {REQUESTS}")
    text = json.dumps(result) + run.pods[0].says()
    counted = re.search(r"(\d+) of (\d+) requests \([0-9.]+ %\) were not measured: numbers (\d+(?:, \d+)*)", text)
    numbers = [int(number) for number in re.findall(r"\d+", counted[3])] if counted else []
    check(bool(counted) and int(counted[1]) == len(missing) and set(numbers) <= missing, "the result has their numbers",
          counted[0] if counted else "none")
    others = [record for record in run.records() if record["ordinal"] % COUNT != 2]
    check(all(record["success"] for record in others) and not result["servegauge"]["validity"]["valid"],
          "the requests of the others succeed, and the result is INVALID", f"{len(others)} requests")
    check_lost_shard_is_named(run)
    path = f"{run.folder}/merged.json"
    logs = [pod.log() for pod in run.pods if pod.log()]
    merged = subprocess.run([PROGRAM, "merge", *logs, "--save-detailed", "--out", path], capture_output=True, text=True)
    count = len(json.load(open(path))["servegauge"]["records"]) if os.path.exists(path) else 0
    check(count == REQUESTS, "the logs of the four pods merge into all requests",
          f"{count}, exit code {merged.returncode}: {merged.stderr.strip().splitlines()[-1:]}")
    last = (run.pods[2].says().strip().splitlines() or [""])[-1]
    check("shard 0" in "".join(run.pods[2].says()), "shard 2 says that shard 0 is lost", last)
    return run


CASES = {"clocks": clocks_case, "step": step_case, "drops": drops_case, "link": link_case}


def main():
    global relays
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        print("SKIPPED everything: network namespaces need root, ip and unshare")
        return
    if not os.path.exists(PROGRAM):
        sys.exit(f"{PROGRAM} does not exist: cargo build")
    # Two of these tests at once would share names and addresses.
    lock = open(__file__)
    fcntl.flock(lock, fcntl.LOCK_EX)
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, lambda *_: sys.exit(1))
    pods.remove_network()
    try:
        pods.build_network(DELAYS)
        relays = {
            index: Relay((pods.pod_address(0), PORT), (pods.relay_address(index), PORT), delays)
            for index, delays in DELAYS.items()
        }
        for name in sys.argv[2:] or CASES:
            print(f"== {name}: {(CASES[name].__doc__ or 'clocks that differ between the hosts').strip()}")
            began, before = time.monotonic(), failed
            try:
                run = CASES[name]()
                if failed > before:
                    print(f"        its files are in {run.folder}")
                else:
                    shutil.rmtree(run.folder)
            except Exception as error:  # a case that did not get to its checks
                check(False, name, f"{type(error).__name__}: {error}")
            print(f"        {time.monotonic() - began:.0f} s", flush=True)
    finally:
        pods.remove_network()
    sys.exit(1 if failed else 0)


main()
