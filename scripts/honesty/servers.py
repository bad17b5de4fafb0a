"""A simulated server of a known speed, and a run against it."""

import subprocess
from dataclasses import dataclass

# A step of the standard server: its time, and what each prompt token and each running sequence adds.
STEP_MS, PREFILL_US, SEQUENCE_US = 20, 40, 80
JITTER = 0.1
OUTPUT_TOKENS = 24

PATIENCE_S = 600


@dataclass(frozen=True)
class Load:
    rate: float
    requests: int


def run(program, load, slowness, seed, file):
    """Measures a server that is so many times as slow as the standard; nothing but its slowness and the seed differ."""
    server = [
        program, "sim", "--port", "0", "--served-model-name", "*", "--seed", str(seed), "--jitter", str(JITTER),
        "--step-time", f"{STEP_MS * slowness * 1000:.0f}us",
        "--prefill-token-time", f"{PREFILL_US * slowness * 1000:.0f}ns",
        "--decode-seq-time", f"{SEQUENCE_US * slowness * 1000:.0f}ns",
    ]  # fmt: skip
    simulator = subprocess.Popen(server, stderr=subprocess.PIPE, text=True)
    try:
        address = simulator.stderr.readline().rsplit("http://", 1)[-1].strip()
        client = [
            program, "run", "--base-url", f"http://{address}", "--model", "simulated",
            "--dataset-name", "random", "--random-input-len", "64", "--random-output-len", str(OUTPUT_TOKENS),
            "--ignore-eos", "--request-rate", str(load.rate), "--num-prompts", str(load.requests), "--seed", str(seed),
            "--save-detailed", "--result-filename", file, "--allow-invalid", "--disable-tqdm",
        ]  # fmt: skip
        ended = subprocess.run(client, capture_output=True, text=True, timeout=PATIENCE_S)
        if ended.returncode != 0:
            raise RuntimeError(ended.stderr)
    finally:
        simulator.terminate()
        simulator.wait()
    return file
