#!/usr/bin/env python3
"""Makes datasets/sharegpt-bundled.json.gz and datasets/tokenizer.json.gz, or checks them.

    python3 -m venv .venv && .venv/bin/pip install -r scripts/datasets/requirements.txt
    .venv/bin/python scripts/make-datasets.py            # write both files, then check them
    .venv/bin/python scripts/make-datasets.py --check    # only check, print the statistics

Needs Python 3.10 or newer. The same seed gives the same bytes (with the same zlib).
"""

import argparse
import gzip
import hashlib
import io
import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # keeps the source tree clean; before our own modules are loaded

from datasets import check, conversations, tokenizer  # noqa: E402

SEED = 20_240_607
CONVERSATIONS = 1_150
FOLDER = Path(__file__).resolve().parent.parent / "datasets"
DATASET = FOLDER / "sharegpt-bundled.json.gz"
TOKENIZER = FOLDER / "tokenizer.json.gz"


def write(path, text):
    """Compresses without name and time, so that equal text gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as file:
        file.write(text.encode("utf-8"))
    path.write_bytes(buffer.getvalue())
    print(f"{hashlib.sha256(buffer.getvalue()).hexdigest()}  {path.name}  {len(buffer.getvalue()):,} bytes")


def make():
    corpus = conversations.corpus(SEED, CONVERSATIONS)
    write(DATASET, json.dumps(corpus, ensure_ascii=False, separators=(",", ":")))
    write(TOKENIZER, tokenizer.train(corpus))


def main():
    parser = argparse.ArgumentParser(description="Makes or checks the bundled data.")
    parser.add_argument("--check", action="store_true", help="only check what is there")
    if not parser.parse_args().check:
        make()
    return 0 if check.run(DATASET, TOKENIZER) else 1


if __name__ == "__main__":
    sys.exit(main())
