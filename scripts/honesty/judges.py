"""What compare and gate say of a pair of saved runs, and the table of many such verdicts."""

import collections
import json
import subprocess
import sys

# The figures of which the table tells; any of the others counts into the last row.
FIGURES = ["tpot.mean", "tpot.p99", "itl.mean", "ttft.mean", "ttft.p95", "e2el.mean", "e2el.p99", "output_throughput"]
ANY = "any figure"

RULES = ["tpot.mean <= baseline * 1.05", "ttft.mean <= baseline * 1.05 or <= baseline + 5ms", "failure_rate < 1%"]


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
    """How it ended: its exit code says whether it passed."""
    rules = [word for rule in RULES for word in ("--rule", rule)]
    ended = subprocess.run(
        [program, "gate", "--baseline", base, "--candidate", candidate, *rules], capture_output=True, text=True
    )
    if ended.returncode == 2:
        sys.exit(ended.stderr)
    return {"the gate": f"exit {ended.returncode}"}


JUDGES = {"compare": compare, "gate": gate}


def table(verdicts):
    """How often each verdict was reached, of each figure."""
    by_figure = collections.defaultdict(collections.Counter)
    for verdict in verdicts:
        for figure, call in verdict.items():
            by_figure[figure][call] += 1
    for figure, calls in by_figure.items():
        shares = ", ".join(f"{call} {count / len(verdicts):.1%}" for call, count in calls.most_common())
        print(f"{figure:>18}: {shares}")
