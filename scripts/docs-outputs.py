#!/usr/bin/env python3
"""Makes the example outputs of README.md and docs/*.md anew: blocks whose fence says `text output=NAME`.

    scripts/docs-outputs.py                             all of them: about six minutes, mostly waiting
    scripts/docs-outputs.py compare watch               some of them
    scripts/docs-outputs.py --program target/debug/servegauge compare

The machine should have little else to do, or start this with `chrt -r 5` as root. Read what changed (`git diff`) before you commit it.
"""

import argparse
import contextlib
import pathlib
import re
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECTION = re.compile(r"^─── ", re.MULTILINE)


class Shell:
    """Runs the program in a folder of its own."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def __call__(self, words, wait=600):
        """What a command prints on stdout and stderr, whatever its exit code."""
        ended = subprocess.run([self.program, *words], cwd=self.folder, capture_output=True, text=True, timeout=wait)
        return ended.stdout, ended.stderr

    @contextlib.contextmanager
    def simulator(self, *flags):
        """The URL of a simulator."""
        command = [self.program, "sim", "--port", "0", "--served-model-name", "*", *flags]
        child = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        try:
            yield "http://" + child.stderr.readline().rsplit("http://")[-1].strip()
        finally:
            child.terminate()
            child.wait()


def run(shell):
    """The main job. Only what a first look needs is kept; `...` stands for the rest."""
    report = shell(["run", "--sim", "--disable-tqdm"])[0].splitlines()
    kept, skipping = [], False
    for line in report:
        wanted = not re.match(r"─── (Token counts|Steady)", line) if line.startswith("───") else None
        skipping = not wanted if wanted is not None else skipping
        if not skipping:
            kept.append(line if len(line) <= 120 else line[:119] + "…")
        elif line.startswith("───") and kept[-1] != "...":
            kept.append("...")
    return "\n".join(kept)


def compare(shell):
    for step, name in [("20ms", "before"), ("22ms", "after")]:
        with shell.simulator("--step-time", step, "--decode-seq-time", "0us") as url:
            load = ["--dataset-name", "random", "--random-input-len", "64", "--random-output-len", "25", "--ignore-eos"]
            shell(["run", "--base-url", url, *load, "--request-rate", "20", "--num-prompts", "1000", "--disable-tqdm",
                   "--save-detailed", "--result-filename", f"{name}.json"])
    return without_help(shell(["compare", "before.json", "after.json"])[0])


def ab(shell):
    sides = [flag for side, step in [("--a", 20), ("--b", 22)]
             for flag in (side, f"{shell.program} sim --port {{port}} --step-time {step}ms")]
    out, err = shell(["ab", *sides, "--blocks", "8", "--block", "5s", "--figures",
                      "ttft.p50,tpot.mean,e2el.mean,output_throughput", "--", "--dataset-name", "random",
                      "--random-output-len", "32", "--ignore-eos", "--request-rate", "15", "--disable-tqdm"])
    progress = [line for line in err.splitlines() if re.match("starting|pair", line)]
    return "\n".join(progress[:4]) + "\n...\n" + without_help(out)


def search(shell):
    with shell.simulator("--max-num-seqs", "16", "--step-time", "10ms") as url:
        return shell(["search", "--slo", "ttft.p95<500ms", "tpot.p95<30ms", "--trial", "10s", "--time", "160s", "--",
                      "--base-url", url, "--dataset-name", "random", "--random-input-len", "64",
                      "--random-output-len", "64", "--ignore-eos"])[0]


def watch(shell):
    with shell.simulator("--max-num-seqs", "4") as url:
        load = subprocess.Popen([shell.program, "run", "--base-url", url, "--dataset-name", "random",
                                 "--random-input-len", "64", "--random-output-len", "128", "--request-rate", "25",
                                 "--num-prompts", "100", "--ready-check-timeout-sec", "2"],
                                cwd=shell.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        out = shell(["watch", url, "--interval", "1s", "--for", "6s"])[0]
        load.wait()
        return out.replace(url, "http://localhost:8000")


def profile(shell):
    with shell.simulator("--profiler") as url:
        out = shell(["run", "--base-url", url, "--dataset-name", "sharegpt", "--num-prompts", "40", "--request-rate", "20",
                     "--profile-after", "300ms", "--profile-duration", "500ms"])[0]
    return section(out, "Profiler")


def diagnose(shell):
    log = (ROOT / "tests/fixtures/logs/overload-v1.log").read_text()
    (pathlib.Path(shell.folder) / "server.log").write_text(log)
    text = shell(["diagnose", "--log", "server.log"])[0]
    findings = re.split(r"(?m)^(?=\d+\. )", text)
    return next(finding for finding in findings if "[queue]" in finding).split("\n\n")[0]


def without_help(report):
    """A comparison without its explanations, which the page gives."""
    return report.split("─── How to read it")[0]


def section(report, title):
    """The section of a report with this title, up to the next one."""
    start = report.index(f"─── {title}")
    end = SECTION.search(report, start + 1)
    return report[start:end.start() if end else None]


OUTPUTS = [run, compare, ab, search, watch, profile, diagnose]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which outputs; all of them if none is named")
    parser.add_argument("--program", default="target/release/servegauge")
    args = parser.parse_args()
    program = str((ROOT / args.program).resolve())
    for output in OUTPUTS:
        if args.names and output.__name__ not in args.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            text = output(Shell(program, folder)).replace(program, "servegauge").strip("\n")
        for page in [*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")]:
            before = page.read_text()
            block = re.compile(rf"(```text output={output.__name__}\n).*?(\n```)", re.DOTALL)
            after = block.sub(lambda found: found[1] + text + found[2], before)
            if after != before:
                page.write_text(after)
        print(f"{output.__name__}:\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
