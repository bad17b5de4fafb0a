"""Verifies what datasets/README.md promises, and prints the table that it shows."""

import gzip
import json
import re

from . import tokenizer as bpe

QUANTILES = (0, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1)
BLOCK = 16
CHINESE = re.compile(r"[\u4e00-\u9fff]")
CODE = re.compile(r"```|\b(Python|JavaScript|TypeScript|Rust|Go|SQL|Bash|Java|C|HTML|CSS|YAML)\b")


def run(dataset, tokenizer):
    """Prints the table and every promise; returns whether all hold."""
    entries = json.loads(gzip.decompress(dataset.read_bytes()))
    tok = bpe.load(tokenizer)
    pairs = [_first_two(tok, entry) for entry in entries]
    kept = [(p, a) for p, a in pairs if len(p) >= 4 and len(a) >= 4 and len(p) <= 1024 and len(p) + len(a) <= 2048]
    _table(pairs, kept)
    size = dataset.stat().st_size + tokenizer.stat().st_size
    results = [
        *_counts(entries, kept),
        *_lengths(kept),
        *_languages(entries),
        *_tokenizer(tok, entries),
        _promise("prompt tokens a prefix cache could reuse, in blocks of 16", _shared(kept), 0, 0.01),
        _promise("bytes of both files", size, 1, 2_000_000),
    ]
    return all(results)


def _first_two(tok, entry):
    return tuple(tok.encode(turn["value"]).ids for turn in entry["conversations"][:2])


def _promise(what, value, low, high):
    holds = low <= value <= high
    shown = f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
    print(f"{'ok  ' if holds else 'FAIL'} {what}: {shown} (wanted {low:,} to {high:,})")
    return holds


def _quantile(values, share):
    """Linear interpolation between the closest ranks."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _table(pairs, kept):
    rows = {
        "prompts, all": [len(p) for p, _ in pairs],
        "prompts, kept": [len(p) for p, _ in kept],
        "answers, all": [len(a) for _, a in pairs],
        "answers, kept": [len(a) for _, a in kept],
    }
    names = ["min", *(f"p{share * 100:.0f}" for share in QUANTILES[1:-1]), "max"]
    print("| tokens | n | mean |", " | ".join(names), "|")
    print("|---|" + "---:|" * (len(names) + 2))
    for name, values in rows.items():
        cells = " | ".join(f"{_quantile(values, share):.0f}" for share in QUANTILES)
        print(f"| {name} | {len(values)} | {sum(values) / len(values):.0f} | {cells} |")
    print(f"rank correlation of the kept prompts and answers: {_rank_correlation(kept):.2f}\n")


def _rank_correlation(pairs):
    ranks = [_ranks([len(pair[side]) for pair in pairs]) for side in (0, 1)]
    middle = (len(pairs) - 1) / 2
    shared = sum((a - middle) * (b - middle) for a, b in zip(*ranks, strict=True))
    return shared / sum((a - middle) ** 2 for a in ranks[0])


def _ranks(values):
    ranks = [0] * len(values)
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        ranks[index] = rank
    return ranks


def _counts(entries, kept):
    firsts = {entry["conversations"][0]["value"] for entry in entries}
    answers = [turn["value"] for entry in entries for turn in entry["conversations"] if turn["from"] == "gpt"]
    messages = [len(entry["conversations"]) for entry in entries]
    alternating = all(
        turn["from"] == ("human", "gpt")[index % 2] and turn["value"]
        for entry in entries
        for index, turn in enumerate(entry["conversations"])
    )
    several = sum(4 <= count <= 8 for count in messages) / len(messages)
    return [
        _promise("conversations", len(entries), 1_100, 1_200),
        _promise("conversations that survive vLLM's filter", len(kept), 1_040, 1_150),
        _promise("distinct ids, of all", len({entry["id"] for entry in entries}) / len(entries), 1, 1),
        _promise("distinct first prompts, of all", len(firsts) / len(entries), 1, 1),
        _promise("distinct answers, of all", len(set(answers)) / len(answers), 1, 1),
        _promise("turns alternate and are not empty", int(alternating), 1, 1),
        _promise("fewest messages", min(messages), 2, 2),
        _promise("most messages", max(messages), 8, 8),
        _promise("share with 4 to 8 messages", several, 0.30, 0.37),
    ]


def _lengths(kept):
    prompts, answers = [len(p) for p, _ in kept], [len(a) for _, a in kept]
    return [
        _promise("mean prompt", sum(prompts) / len(kept), 200, 240),
        _promise("median prompt", _quantile(prompts, 0.5), 55, 85),
        _promise("longest kept prompt", max(prompts), 950, 1_024),
        _promise("shortest prompt", min(prompts), 4, 14),
        _promise("mean answer", sum(answers) / len(kept), 180, 220),
        _promise("median answer", _quantile(answers, 0.5), 130, 170),
        _promise("longest kept answer", max(answers), 1_000, 2_044),
    ]


def _languages(entries):
    kinds = [_kind(entry) for entry in entries]
    wanted = {"English": (0.77, 0.83), "code": (0.10, 0.14), "Chinese": (0.07, 0.09)}
    return [_promise(f"share of {kind}", kinds.count(kind) / len(kinds), *range_) for kind, range_ in wanted.items()]


def _kind(entry):
    text = "\n".join(turn["value"] for turn in entry["conversations"])
    if len(CHINESE.findall(text)) > 0.2 * len(text):
        return "Chinese"
    return "code" if CODE.search(text) else "English"


def _tokenizer(tok, entries):
    texts = [turn["value"] for entry in entries for turn in entry["conversations"]]
    round_trip = all(tok.decode(tok.encode(text).ids) == text for text in [*texts, "a\u00e9\U0001f980 \r\n\t\u6f22"])
    chinese = [text for text in texts if len(CHINESE.findall(text)) > 0.5 * len(text)]
    per_character = sum(len(tok.encode(text).ids) for text in chinese) / sum(map(len, chinese))
    latin = [text for text in texts if not CHINESE.search(text)]
    per_token = sum(map(len, latin)) / sum(len(tok.encode(text).ids) for text in latin)
    costliest = max(len(tok.encode(character).ids) for character in bpe.common_chinese())
    return [
        _promise("vocabulary", tok.get_vocab_size(), 8_000, 16_384),
        _promise("every text comes back from its tokens", int(round_trip), 1, 1),
        _promise("tokens of the costliest common Chinese character", costliest, 1, 2),
        _promise("tokens per Chinese character in the corpus", per_character, 0.4, 1.5),
        _promise("characters per token elsewhere", per_token, 3.2, 5.5),
    ]


def _shared(kept):
    """The share of prompt tokens in leading blocks that an earlier prompt has too."""
    seen, shared = set(), 0
    for prompt, _ in kept:
        prefixes = [tuple(prompt[:end]) for end in range(BLOCK, len(prompt) + 1, BLOCK)]
        shared += BLOCK * sum(prefix in seen for prefix in prefixes)
        seen.update(prefixes)
    return shared / sum(len(prompt) for prompt, _ in kept)
