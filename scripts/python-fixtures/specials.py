"""Which tokens transformers calls special, by what lies beside a tokenizer.json: vLLM's client leaves them out of random prompts."""

import json

from transformers import AutoTokenizer

FAST = "PreTrainedTokenizerFast"

# A name, then tokenizer_config.json, special_tokens_map.json and config.json, each of which may be missing.
CASES = {
    "nothing": (None, None, None),
    "map": (None, {"eos_token": "<|endoftext|>"}, None),
    "map of objects": (None, {"eos_token": {"content": "<|endoftext|>", "lstrip": False, "rstrip": False}}, None),
    "map with a list": ({"tokenizer_class": FAST}, {"eos_token": "<|endoftext|>", "additional_special_tokens": ["the"]}, None),
    "map against configuration": ({"tokenizer_class": FAST, "eos_token": "the"}, {"eos_token": "<|endoftext|>"}, None),
    "map behind null": ({"tokenizer_class": FAST, "eos_token": None}, {"eos_token": "<|endoftext|>"}, None),
    "map beside a decoder": (
        {"tokenizer_class": FAST, "eos_token": "the", "added_tokens_decoder": {"0": {"content": "<|endoftext|>", "special": True}}},
        {"bos_token": "<|endoftext|>"},
        None,
    ),
    "lists in both": (
        {"tokenizer_class": FAST, "additional_special_tokens": ["the"]},
        {"additional_special_tokens": ["a"]},
        None,
    ),
    "both lists": ({"tokenizer_class": FAST, "additional_special_tokens": ["the"], "extra_special_tokens": ["a"]}, None, None),
    "marked only": (
        {"tokenizer_class": FAST, "added_tokens_decoder": {"0": {"content": "<|endoftext|>", "special": True}}},
        None,
        None,
    ),
    "named roles": ({"tokenizer_class": FAST, "extra_special_tokens": {"image_token": "the"}}, None, None),
    "other role": ({"tokenizer_class": FAST, "image_token": "the"}, None, None),
    "model specific": ({"tokenizer_class": FAST, "model_specific_special_tokens": {"image_token": "the"}}, None, None),
    "not in the vocabulary": ({"tokenizer_class": FAST, "eos_token": "<NEW>"}, None, None),
    "GPT-2": ({"tokenizer_class": "GPT2Tokenizer"}, None, None),
    "GPT-2, fast": ({"tokenizer_class": "GPT2TokenizerFast", "eos_token": "the"}, None, None),
    "GPT-2, null": ({"tokenizer_class": "GPT2Tokenizer", "bos_token": None}, {"eos_token": "the"}, None),
    "GPT-2, all null": (
        {"tokenizer_class": "GPT2Tokenizer", "bos_token": None, "eos_token": None, "unk_token": None},
        None,
        None,
    ),
    "GPT-NeoX": ({"tokenizer_class": "GPTNeoXTokenizer"}, None, None),
    "Qwen2": ({"tokenizer_class": "Qwen2Tokenizer"}, None, None),
    "Llama": ({"tokenizer_class": "LlamaTokenizerFast"}, None, None),
    "unknown class": ({"tokenizer_class": "MyOwnTokenizer"}, None, {"model_type": "gpt2"}),
    "model of GPT-2": (None, None, {"model_type": "gpt2"}),
    "model of Qwen3": ({"eos_token": "the"}, None, {"model_type": "qwen3"}),
    "model of Llama": (None, None, {"model_type": "llama"}),
    "model against class": ({"tokenizer_class": FAST}, None, {"model_type": "gpt2"}),
    "Qwen2 against class": ({"tokenizer_class": FAST}, None, {"model_type": "qwen2"}),
    "class in config.json": ({"eos_token": "the"}, None, {"model_type": "llama", "tokenizer_class": "GPT2Tokenizer"}),
}

FILES = ("tokenizer_config.json", "special_tokens_map.json", "config.json")


def record(folder, tokenizer):
    """The ids below the size of the vocabulary, by case."""
    recorded = []
    for number, (name, contents) in enumerate(CASES.items()):
        case = folder / f"specials-{number}"
        case.mkdir()
        (case / "tokenizer.json").write_text(json.dumps(tokenizer))
        for file, content in zip(FILES, contents):
            if content is not None:
                (case / file).write_text(json.dumps(content))
        loaded = AutoTokenizer.from_pretrained(case)
        ids = sorted(id for id in loaded.all_special_ids if id < loaded.vocab_size)
        recorded.append({"name": name, "files": dict(zip(FILES, contents)), "ids": ids})
    return recorded
