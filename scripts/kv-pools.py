#!/usr/bin/env python3
"""Holds the pools that `servegauge plan` predicts against those that published start-up logs state.

    scripts/kv-pools.py pools.csv CONFIGS [PROGRAM]

`pools.csv` has a case a row: model, GPU, flags that the log states, and the memory or the tokens that it prints. CONFIGS is a
folder of config.json files, named organisation--model_config.json; shapes that it lacks are in tests/fixtures/models. Flags
that a log does not state are left to the program's defaults for the card and the version.
"""

import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

GIB = 1 << 30
ROOT = Path(__file__).resolve().parent.parent
SHAPES = {
    "llama-3.1-8b": "llama-3-8b", "llama-3-8b": "llama-3-8b", "llama-3.1-70b": "llama-3-70b", "llava": "llava-1.6-mistral-7b",
    "gemma-3-27b": "gemma-3-27b", "gemma-3-4b": "gemma-3-4b", "gemma-4-26b": "gemma-4-26b-a4b", "gpt-oss-120b": "gpt-oss-120b",
    "qwen3-vl-30b": "qwen3-vl-30b-a3b", "qwen3.5-9b": "qwen3.5-9b", "distill-qwen-14b": "qwen2.5-14b",
    "qwen2.5-14b": "qwen2.5-14b", "qwen3-8b-fp8": "qwen3-8b-fp8", "qwen2.5-vl-7b": "qwen2.5-vl-7b", "llama-2-7b": "llama-2-7b",
    "mixtral-8x7b": "mixtral-8x7b", "mistral-nemo": "mistral-nemo-12b", "qwen2.5-7b": "qwen2.5-7b",
    "distill-qwen-7b": "qwen2.5-7b", "deepseek-r1": "deepseek-v3",
}
CARDS = {"A100-80": "A100", "H100-80": "H100", "H200": "H200", "L40S": "L40S", "L4": "L4", "RTX 4090": "4090",
         "RTX 3090": "3090", "MI300X": "MI300X", "MI300X-class ROCm (172.8 GiB budget fits)": "MI300X",
         "H100 NVL": "H100 NVL", "80 GB by size (Kaggle)": "H100", "RTX PRO 4500": "RTX PRO 4500", "B200": "B200"}


def config(row, folder):
    """The config of a case's model, or None."""
    given = folder / Path(row["config_source"]).name
    if given.is_file():
        return given
    shape = next((file for name, file in SHAPES.items() if name in row["model"].lower()), None)
    return shape and ROOT / "tests/fixtures/models" / f"{shape}.json"


def command(row, program, path):
    """The plan of a case, or None if its card is not known."""
    words = [program, "plan", "--json", "--prompt-tokens", "8", "--output-tokens", "8", "--model-config", str(path)]
    if row["gpu_total_gib"]:
        words += ["--gpu-memory", row["gpu_total_gib"] + "GiB"]
    elif row["gpu"] in CARDS:
        words += ["--gpu", CARDS[row["gpu"]]]
    else:
        return None
    flags = {"tp": "--tp", "gpu_memory_utilization": "--gpu-memory-utilization", "max_num_seqs": "--max-num-seqs",
             "max_num_batched_tokens": "--max-num-batched-tokens"}
    for column, flag in flags.items():
        if row[column]:
            words += [flag, row[column]]
    if row["kv_cache_dtype"] == "fp8":
        words += ["--kv-dtype", "fp8"]
    if row["enforce_eager"] == "yes":
        words += ["--enforce-eager"]
    version = row["version"].split("/")[0].split("-")[0].replace(".x", ".0")
    return words + (["--vllm-version", version] if version else [])


def main():
    table, folder = Path(sys.argv[1]), Path(sys.argv[2])
    program = sys.argv[3] if len(sys.argv) > 3 else "target/debug/servegauge"
    errors = []
    print(f"{'case':5} {'model':42} {'weights':>8} {'logged':>7} {'plan':>8} {'log':>8} {'off':>8}")
    for row in csv.DictReader(table.open()):
        path = config(row, folder)
        words = path and command(row, program, path)
        if row["engine"] != "V1" or not words:
            continue
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{row['case']:5} {row['model'][:42]:42} {done.stderr.strip()[:300]}")
            continue
        pool = json.loads(done.stdout)["pool"]
        charged = pool["capacity"] / pool["printed_tokens"] if pool.get("printed_tokens") else None
        blocks = float(row["gpu_blocks"] or 0) * float(row["block_size"] or 0)
        tokens = float(row["kv_tokens"] or 0) or blocks
        stated = float(row["avail_kv_gib"] or 0) or (charged or 0) * tokens / GIB
        plan = pool["capacity"] / GIB
        weights = next(line["bytes"] for line in pool["memory"] if line["what"] == "weights") / GIB
        off = plan / stated - 1 if stated else None
        if off is not None:
            errors.append((abs(off), row["case"]))
        print(f"{row['case']:5} {row['model'][:42]:42} {weights:8.2f} {row['weights_gib']:>7} {plan:8.2f} {stated:8.2f} "
              f"{'' if off is None else f'{off:+8.1%}'}")
    offs = [off for off, _ in errors]
    within = sum(off <= 0.1 for off in offs)
    print(f"{len(offs)} cases: median {statistics.median(offs):.1%}, within 10 %: {within} of {len(offs)}")


main()
