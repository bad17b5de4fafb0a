"""Tokenizers and dataset files for the recorded client, made from what the repository bundles."""

import gzip
import json
from pathlib import Path

from tokenizers import pre_tokenizers

DATASETS = Path(__file__).parents[2] / "datasets"
FEW = 12
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def unpacked(name):
    return json.loads(gzip.decompress((DATASETS / name).read_bytes()))


def lay_out(folder):
    """Writes everything that cases name into `folder`."""
    tokenizer = unpacked("tokenizer.json.gz")
    conversations = unpacked("sharegpt-bundled.json.gz")
    save_tokenizer(folder / "bundled", tokenizer, {"eos_token": "<|endoftext|>"})
    save_tokenizer(folder / "special", with_leading_special(tokenizer), {"bos_token": "<|endoftext|>"})
    save_tokenizer(folder / "bytes", single_bytes(), {})
    save_tokenizer(folder / "templated", tokenizer, {"eos_token": "<|endoftext|>", "chat_template": TEMPLATE})
    save_tokenizer(folder / "mapped", tokenizer, {})
    (folder / "mapped" / "special_tokens_map.json").write_text(json.dumps({"eos_token": "the", "bos_token": "<|endoftext|>"}))
    save_tokenizer(folder / "class", tokenizer, {"tokenizer_class": "GPT2Tokenizer", "pad_token": "the"})
    (folder / "burst.csv").write_text(burst())
    (folder / "bundled.json").write_text(json.dumps(conversations))
    (folder / "few.json").write_text(json.dumps(conversations[:FEW]))
    (folder / "custom.jsonl").write_text(custom(conversations))


def save_tokenizer(folder, tokenizer, names):
    folder.mkdir()
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def with_leading_special(tokenizer):
    """The same, but putting `<|endoftext|>` before every prompt."""
    name = "<|endoftext|>"
    special = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == name)
    piece = {"SpecialToken": {"id": name, "type_id": 0}}
    first, second = ({"Sequence": {"id": which, "type_id": 0}} for which in "AB")
    processor = {
        "type": "TemplateProcessing",
        "single": [piece, first],
        "pair": [piece, first, second],
        "special_tokens": {name: {"id": name, "ids": [special], "tokens": [name]}},
    }
    return {**tokenizer, "post_processor": processor}


def single_bytes():
    """Knows single bytes only, so that most texts of its ids are no UTF-8 and never reach their length."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def burst():
    """A trace in BurstGPT's columns: two models, and answers that failed."""
    rows = ["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    for i in range(60):
        model = "GPT-4" if i % 3 else "ChatGPT"
        request, response = 3 + 7 * i % 41, 0 if i % 11 == 4 else 1 + 5 * i % 29
        rows.append(f"{5 * i},{model},{request},{response},{request + response},Conversation log")
    return "\n".join(rows) + "\n"


def custom(conversations):
    """A dozen short prompts, one a line."""
    prompts = [entry["conversations"][0]["value"] for entry in conversations]
    short = [prompt for prompt in prompts if len(prompt) < 90][:FEW]
    rows = [{"prompt": prompt, "output_tokens": 10 + 7 * i} for i, prompt in enumerate(short)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
