"""What compare and gate say of a pair of saved runs, and the table of many such verdicts."""

import collections
import json
import subprocess
import sys

# The figures of which the table tells; any of the others counts into the last row.
FIGURES = ["tpot.mean", "tpot.p99", "itl.mean", "ttft.mean", "ttft.p95", "e2el.mean", "e2el.p99", "output_throughput"]
ANY = "any figure"


def compare(program, base, candidate, anyway):
    """The call of each figure; of any figure `differs` if one is better or worse."""
    command = [program, "compare", base, candidate, "--format", "json"] + ["--anyway"] * anyway
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        return {ANY: f"refused ({ended.returncode})"}
    rows = json.loads(ended.stdout)["candidates"][0]["rows"]
    calls = {row["figure"]: row["call"] for row in rows}
    verdict = {figure: calls[figure] for figure in FIGURES if figure in calls}
    verdict[ANY] = "differs" if {"better", "worse"} & set(calls.values()) else "no difference"
    return verdict


def gate(program, base, candidate, anyway):
    """The answer to each of the default rules, and how the gate ended: its exit code."""
    command = [program, "gate", "--baseline", base, "--candidate", candidate, "--json", "-"]
    ended = subprocess.run(command + ["--allow-invalid"] * anyway, capture_output=True, text=True)
    if ended.returncode == 2:
        sys.exit(ended.stderr)
    findings = json.loads(ended.stdout)["findings"] if ended.stdout else []
    return {finding["rule"]: finding["answer"] for finding in findings} | {"the gate": f"exit {ended.returncode}"}


JUDGES = {"compare": compare, "gate": gate}


def table(verdicts):
    """How often each verdict was reached, of each figure."""
    by_figure = collections.defaultdict(collections.Counter)
    for verdict in verdicts:
        for figure, call in verdict.items():
            by_figure[figure][call] += 1
    width = max(map(len, by_figure))
    for figure, calls in by_figure.items():
        shares = ", ".join(f"{call} {count / len(verdicts):.1%}" for call, count in calls.most_common())
        print(f"{figure:>{width}}: {shares}")
