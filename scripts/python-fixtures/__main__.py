"""Records what vLLM's Python client sends: see README.md."""

import asyncio
import gzip
import json
import shlex
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from transformers import AutoTokenizer
from vllm.benchmarks import serve
from vllm.benchmarks.datasets import datasets
from vllm.benchmarks.lib.endpoint_request_func import RequestFuncOutput
from vllm.utils.argparse_utils import FlexibleArgumentParser

import material
import primitives
import sonnet
import specials
from cases import ARRIVALS, ARRIVALS_COUNT, CASES, LORA, SEEDS, SONNET_COUNT, SONNETS


class Still:
    """Stands in for a module of which some names are replaced."""

    def __init__(self, module, **names):
        self.__dict__.update(names, _module=module)

    def __getattr__(self, name):
        return getattr(self._module, name)


class Recording:
    """One run of the client on a clock that stands at zero, so that a sleep lasts until the request's offset."""

    def __init__(self):
        self.offsets, self.requests, self.first_ids = [], [], []
        self.asleep = 0.0
        serve.time = Still(serve.time, time=lambda: 0.0)
        serve.asyncio = Still(asyncio, sleep=self.sleep)
        serve.ASYNC_REQUEST_FUNCS = {"openai": self.send}
        drive = getattr(datasets.gen_prompt_decode_to_target_len, "recorded", datasets.gen_prompt_decode_to_target_len)

        def recorded(**named):
            self.first_ids.append(list(named["token_sequence"]))
            return drive(**named)

        recorded.recorded = drive
        datasets.gen_prompt_decode_to_target_len = recorded

    async def sleep(self, seconds):
        self.asleep = seconds
        await asyncio.sleep(0)

    async def send(self, request_func_input, session, pbar=None):
        asked = request_func_input
        self.requests.append([asked.prompt, asked.prompt_len, asked.output_len, asked.model])
        return RequestFuncOutput(success=True, latency=1.0, output_tokens=2, ttft=0.5, itl=[0.5], prompt_len=1)


async def offsets_of(rate, burstiness, seed):
    """The arrivals alone."""
    recording = Recording()
    np.random.seed(seed)
    requests = [SimpleNamespace(timestamp=None)] * ARRIVALS_COUNT
    async for _ in serve.get_request(requests, rate, burstiness):
        recording.offsets.append(recording.asleep)
    return recording.offsets


def run(tokenizer, flags, seed, folder):
    """What the client sends under these flags."""
    parser = FlexibleArgumentParser()
    serve.add_cli_args(parser)
    common = f"--model base --tokenizer {folder / tokenizer} --seed {seed} --port 9 --disable-tqdm"
    words = [str(folder / word) if word.endswith((".json", ".jsonl", ".csv")) else word for word in split(flags)]
    args = parser.parse_args(common.split() + words + LORA)
    recording = Recording()
    get_request = serve.get_request

    async def noted(*given):
        async for item in get_request(*given):
            recording.offsets.append(recording.asleep)
            yield item

    serve.get_request = noted
    try:
        asyncio.run(serve.main_async(args))
    finally:
        serve.get_request = get_request
    return {"requests": recording.requests, "offsets": recording.offsets, "ids": recording.first_ids}


def split(flags):
    """Like a shell, but JSON keeps its quotes."""
    return [word for word in shlex.split(flags.replace('"', '\\"'))]


def sonnets(folder):
    """The poem's prompts, and what `random` draws next."""
    lines = (material.DATASETS / "sonnet.txt").read_text().splitlines(keepends=True)
    recorded = []
    for name, input_len, prefix_len, in_chat in SONNETS:
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        for seed in SEEDS:
            requests, drawn_next = sonnet.record(tokenizer, lines, seed, SONNET_COUNT, input_len, prefix_len, in_chat)
            recorded.append({
                "tokenizer": name, "input_len": input_len, "prefix_len": prefix_len, "in_chat": in_chat, "seed": seed,
                "requests": requests, "next": drawn_next,
            })
    return recorded


def save(target, name, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    (target / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main(target):
    target.mkdir(parents=True, exist_ok=True)
    save(target, "primitives", {str(seed): primitives.record(seed) for seed in [*SEEDS, 2**32 - 1]})
    arrivals = [
        {"rate": rate, "burstiness": str(burstiness), "seed": seed, "offsets": asyncio.run(offsets_of(rate, burstiness, seed))}
        for rate, burstiness in ARRIVALS
        for seed in SEEDS
    ]
    save(target, "arrivals", arrivals)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        material.lay_out(folder)
        for name in ["custom.jsonl", "burst.csv"]:
            (target / name).write_bytes((folder / name).read_bytes())
        save(target, "specials", specials.record(folder, material.unpacked("tokenizer.json.gz")))
        save(target, "sonnet", sonnets(folder))
        for name, (tokenizer, flags) in CASES.items():
            runs = {str(seed): run(tokenizer, flags, seed, folder) for seed in SEEDS}
            save(target, name, {"tokenizer": tokenizer, "flags": flags, "seeds": runs})


with suppress(BrokenPipeError):
    main(Path(sys.argv[1]))
