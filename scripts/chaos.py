#!/usr/bin/env python3
"""Kills, stops and cuts off the processes of a shared run at eight moments, and prints a table of how each run ends.

Usage: scripts/chaos.py [PROGRAM] [MOMENT ...]     (default: target/debug/servegauge, all moments)

Two processes send one run to a simulator. The second reaches the first through a relay that delays each piece by 5 ms and
can cut the network. Each cell must end by itself within its deadline, with the exit codes of docs/many-hosts.md, and leave
no process; every request that ended and was written must be in the result or in a log that `servegauge merge` reads.
"""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from shared_runs import Relay, start_simulator, until

PROGRAM = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/debug/servegauge")
SECONDS = 6
DEADLINE = 75
FAULTS = ["kill 0", "kill 1", "stop 0", "stop 1", "cut"]
MOMENTS = ["before join", "preparing", "ready", "before t0", "first second", "middle", "handing over", "merging"]
# A fault may hit shard 0 or shard 1; None is a process that is killed. Several codes: the fault races with the run.
FAILED = {"kill 0": (None, 1), "kill 1": (1, None), "stop 0": (0, 0), "stop 1": (0, 0), "cut": (1, 1)}
LOADED = {"kill 0": (None, 3), "kill 1": (3, None), "stop 0": (0, 0), "stop 1": (0, 0), "cut": (3, 3)}


class Shard:
    def __init__(self, index, rendezvous, base_url, folder, prompts):
        self.index, self.folder = index, folder
        self.stderr = os.path.join(folder, f"{index}.err")
        words = (
            f"run --model m --base-url {base_url} --dataset-name random --random-input-len 8 --random-output-len 6 "
            f"--ignore-eos --num-prompts {prompts} --request-rate 40 --shard {index}/2 "
            f"--rendezvous {rendezvous} --shard-timeout 20s --record-log {folder}/{index}.reclog --no-keep "
            f"--result-filename {folder}/r.json --disable-tqdm --skip-tokenizer-init -v"
        )
        self.process = subprocess.Popen(
            [PROGRAM, *words.split()], stdout=subprocess.DEVNULL, stderr=open(self.stderr, "w"), cwd=folder
        )

    def says(self):
        return open(self.stderr).read()

    def log_size(self):
        path = f"{self.folder}/{self.index}.reclog" if self.index == 0 else f"{self.folder}/{self.index}-shard1.reclog"
        return os.path.getsize(path) if os.path.exists(path) else 0


def reach(moment, shards, relay, start_second):
    """Waits for a moment; shard 0 runs already."""
    if moment == "before join":
        relay.is_cut = True
        start_second()
        time.sleep(1.0)
        relay.is_cut = False
        return
    start_second()
    first, second = shards
    if moment == "preparing":
        until("shard 1 knows the run", lambda: "the next run of all shards" in second.says())
        return
    if moment == "ready":
        # Shard 1 is stopped before it is ready, so shard 0 waits.
        until("shard 1 joins", lambda: "joined the other shards" in second.says())
        os.kill(second.process.pid, signal.SIGSTOP)
        until("shard 0 is ready", lambda: first.log_size() > 0)
        time.sleep(0.5)
        os.kill(second.process.pid, signal.SIGCONT)
        return
    until("both are ready", lambda: first.log_size() > 0 and second.log_size() > 0)
    if moment == "before t0":
        time.sleep(0.25)
        return
    header = second.log_size()
    until("the load begins", lambda: second.log_size() > header)
    if moment == "first second":
        return
    if moment == "middle":
        time.sleep(SECONDS / 2)
        return
    if moment == "handing over":
        # The network is slow to recover while the load ends.
        time.sleep(SECONDS - 2)
        relay.is_cut = True
        time.sleep(2.5)
        relay.is_cut = False
        return
    until("shard 1 has handed over", lambda: os.path.exists(first.folder + "/r.json") or
          second.process.poll() is not None or "requests ended" in second.says(), SECONDS + 30)


def inflict(fault, shards, relay):
    if fault == "cut":
        relay.is_cut = True
        return
    what, index = fault.split()
    process = shards[int(index)].process
    if what == "kill":
        process.kill()
    else:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(10)
        os.kill(process.pid, signal.SIGCONT)


def count(path):
    with open(path) as file:
        return json.load(file)["completed"]


def merged(folder):
    logs = sorted(glob.glob(f"{folder}/*.reclog"))
    out = f"{folder}/merged.json"
    if not logs:
        return 0
    # A log that shard 0 received from a shard is an older copy of that shard's own.
    own = [log for log in logs if ".shard1." not in log] if os.path.exists(f"{folder}/1-shard1.reclog") else logs
    done = subprocess.run([PROGRAM, "merge", *own, "--out", out], capture_output=True, text=True)
    return count(out) if os.path.exists(out) else f"none ({done.stderr.strip().splitlines()[-1:]})"


def cell(moment, fault, base_url):
    folder = tempfile.mkdtemp(prefix="chaos-")
    prompts = 40 * SECONDS
    first = Shard(0, "127.0.0.1:0", base_url, folder, prompts)
    shards = [first]
    try:
        until("shard 0 listens", lambda: "waits for the others at" in first.says())
        port = int(re.search(r"waits for the others at \S+:(\d+)", first.says())[1])
        relay = Relay(("127.0.0.1", port))
        reach(moment, shards, relay,
              lambda: shards.append(Shard(1, f"127.0.0.1:{relay.address[1]}", base_url, folder, prompts)))
        began = time.monotonic()
        inflict(fault, shards, relay)
        codes = []
        for shard in shards:
            try:
                codes.append(shard.process.wait(max(1.0, began + DEADLINE - time.monotonic())))
            except subprocess.TimeoutExpired:
                codes.append("hangs")
        took = time.monotonic() - began
        result = count(f"{folder}/r.json") if os.path.exists(f"{folder}/r.json") else 0
        says = (shards[0].says() + shards[-1].says()).splitlines()
        why = next((line for line in says if line.startswith(("error", "warning: shard", "warning: the process"))), "")
        return codes, took, result, merged(folder), why
    finally:
        for shard in shards:
            if shard.process.poll() is None:
                shard.process.kill()


def is_expected(moment, fault, codes):
    killed = {f"kill {index}": index for index in (0, 1)}.get(fault)
    rest = [code for index, code in enumerate(codes) if index != killed]
    if "hangs" in rest:
        return False
    early = moment in MOMENTS[:3]
    wanted = (FAILED if early else LOADED)[fault]
    allowed = {code for index, code in enumerate(wanted) if index != killed}
    # Near the end, a run may be over before the fault; a stop may cost a run its validity, but not its result.
    if moment in ("handing over", "merging", "before t0"):
        allowed |= {0, 1, 3}
    if fault.startswith("stop") or moment == "middle" or moment == "first second":
        allowed |= {0, 3}
    if early and fault in ("kill 0", "cut"):
        allowed |= {3}
    return all(code in allowed for code in rest)


def main():
    moments = sys.argv[2:] or MOMENTS
    simulator, base_url = start_simulator(PROGRAM)
    print("| moment | fault | exit codes 0, 1 | seconds | in the result | in the logs | as documented | message |")
    print("|---|---|---|---|---|---|---|---|")
    failed = 0
    try:
        for moment in moments:
            rows = {}
            def one(fault):
                try:
                    rows[fault] = cell(moment, fault, base_url)
                except Exception as error:  # a cell that did not get to its moment
                    rows[fault] = (["?"], 0.0, 0, 0, f"{type(error).__name__}: {error}")
            threads = [threading.Thread(target=one, args=(fault,)) for fault in FAULTS]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            for fault in FAULTS:
                codes, took, result, logs, why = rows[fault]
                good = codes != ["?"] and is_expected(moment, fault, codes)
                failed += not good
                shown = ", ".join(str(code) for code in codes)
                print(f"| {moment} | {fault} | {shown} | {took:.0f} | {result} | {logs} | {'yes' if good else 'NO'} | {why[:110]} |",
                      flush=True)
    finally:
        simulator.kill()
    sys.exit(1 if failed else 0)


main()
