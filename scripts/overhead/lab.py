"""The laboratory: a simulator on one core, a client on another, and what the client used of its core."""

import bisect
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

BINARIES = Path("target/release")
SERVEGAUGE = BINARIES / "servegauge"
FLOOR = BINARIES / "examples" / "floor"

# A client that hangs must not hang the table.
PATIENCE_S = 120


@dataclass(frozen=True)
class Cores:
    """Who runs where, and whether at real-time priority: that keeps the machine's other work out of the figures."""

    server: frozenset
    client: frozenset
    realtime: bool = False

    def without_priority(self):
        """For a client that shall share its core: real-time priority does not share."""
        return Cores(self.server, self.client)

    def everywhere(self):
        """For a client that has the server's core too."""
        return Cores(self.server, self.server | self.client, self.realtime)

    def enter(self, cores, priority):
        """To be called in the child, between fork and exec."""
        os.sched_setaffinity(0, cores)
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))


@dataclass(frozen=True)
class Use:
    """What a process used."""

    wall_s: float
    cpu_s: float
    cpu: "CpuCurve"
    # Never below the dozen MB of the interpreter that starts it: the kernel counts from the fork.
    peak_mb: float


class CpuCurve(threading.Thread):
    """A process's CPU time over the wall clock, sampled while it runs."""

    # The error at each end of a span; a sample costs some 10 µs.
    STEP_S = 0.002

    def __init__(self, pid):
        super().__init__(daemon=True)
        # How Linux names the CPU clock of another process (include/linux/posix-timers_types.h).
        self.clock = ~pid << 3 | 2
        self.walls, self.cpus = [], []
        self.start()

    def run(self):
        try:
            while True:
                self.cpus.append(time.clock_gettime_ns(self.clock))
                self.walls.append(time.time_ns())
                time.sleep(self.STEP_S)
        except OSError:
            # The process is gone.
            return

    def at(self, wall_ns):
        """CPU time in s at a wall time, between samples linearly."""
        above = min(max(bisect.bisect(self.walls, wall_ns), 1), len(self.walls) - 1)
        (w0, w1), (c0, c1) = self.walls[above - 1 : above + 1], self.cpus[above - 1 : above + 1]
        share = min(max((wall_ns - w0) / (w1 - w0), 0), 1)
        return (c0 + (c1 - c0) * share) / 1e9

    def between(self, start_ns, end_ns):
        return self.at(end_ns) - self.at(start_ns)


class Simulator:
    """`servegauge sim` with fixed timing; its truth log can be read when it has ended."""

    def __init__(self, cores, folder, *flags, truth=True):
        self.truth_log = folder / "truth.jsonl" if truth else Path(os.devnull)
        self.cores = cores
        fixed = ["--port", "0", "--max-model-len", "131072", "--truth-log", self.truth_log]
        self.command = [SERVEGAUGE, "sim", *fixed, *flags]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: self.cores.enter(self.cores.server, 20),
        )
        for line in self.process.stderr:
            if found := re.search(r"listening on (http://(\S+))", line):
                self.url, self.address = found.groups()
                return self
        raise SystemExit(f"the simulator did not start: {shlex.join(map(str, self.command))}")

    def cpu_s(self):
        """CPU time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.stderr.read()
        self.process.wait(PATIENCE_S)


class BusyLoop:
    """Someone else's work on the client's core."""

    def __init__(self, cores):
        self.cores = cores

    def __enter__(self):
        program = [sys.executable, "-c", "while True: pass"]
        self.process = subprocess.Popen(program, preexec_fn=lambda: os.sched_setaffinity(0, self.cores.client))

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def run(command, cores, stdout, patience_s=PATIENCE_S):
    """Runs a client on its core to its end."""
    start = time.monotonic()
    errors = stdout.with_suffix(".stderr")
    with open(stdout, "wb") as out, open(errors, "wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=lambda: enter_client(cores)
        )
        cpu = CpuCurve(process.pid)
        status, used = wait(process, patience_s)
        wall = time.monotonic() - start
    if status != 0:
        tail = errors.read_text(errors="replace")[-2000:]
        raise SystemExit(f"{shlex.join(map(str, command))}\nended with {status}:\n{tail}")
    return Use(wall, used.ru_utime + used.ru_stime, cpu, used.ru_maxrss / 1024)


def enter_client(cores):
    cores.enter(cores.client, 10)
    # Thousands of streams are thousands of descriptors.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wait(process, patience_s):
    """The exit status and what the process used, which only `wait4` tells of one process alone."""
    patience = threading.Timer(patience_s, process.kill)
    patience.start()
    _, status, used = os.wait4(process.pid, 0)
    patience.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used


def read_json(path):
    """What a client reports."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path}: {error}") from error
