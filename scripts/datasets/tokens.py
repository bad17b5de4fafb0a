"""Guesses token counts before there is a tokenizer."""

import re

# The pieces a byte-level tokenizer starts from; the corpus' words are mostly whole tokens.
PIECE = re.compile(r"[\u3000-\u9fff\uff00-\uffef]+|[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9\u3000-\u9fff\uff00-\uffef]+|\n+| {2,}")


def estimate(text):
    return sum(_cost(piece) for piece in PIECE.findall(text))


def _cost(piece):
    if piece[0] >= "\u3000":
        return 0.5 * len(piece)
    if piece.isdigit():
        return 1 + (len(piece) > 2)
    return 1
