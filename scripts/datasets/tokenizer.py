"""Trains the byte-level BPE tokenizer on the corpus, and loads it."""

import gzip

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 12_000
END = "<|endoftext|>"
# Keeps whole Chinese phrases of the templates from becoming one token each: 12 bytes are four characters.
LONGEST_TOKEN = 12


def common_chinese():
    """The 3,755 most common characters, from the first level of the GB 2312 character set."""
    rows = range(0xB0, 0xD8)
    found = []
    for row in rows:
        for cell in range(0xA1, 0xFF):
            try:
                found.append(bytes((row, cell)).decode("gb2312"))
            except UnicodeDecodeError:
                continue  # the last row is not full
    return found


def train(corpus):
    """The serialized tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        max_token_length=LONGEST_TOKEN,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
    )
    texts = [turn["value"] for entry in corpus for turn in entry["conversations"]]
    # Twice, so that a character the corpus lacks passes the minimum and costs two tokens at most.
    tokenizer.train_from_iterator([*texts, *common_chinese(), *common_chinese()], trainer)
    return tokenizer.to_str(pretty=False)


def load(path):
    return Tokenizer.from_str(gzip.decompress(path.read_bytes()).decode("utf-8"))
