"""How long the first prompt and the first answer of each conversation shall be."""

import math
from statistics import NormalDist

# First prompts are modelled as two log-normal groups, what people type and what they paste; the medians are in tokens.
# Chosen so that the kept prompts have a mean near 215 and a median near 70: see datasets/README.md for what is measured.
TYPED = (NormalDist(math.log(40), 0.80), 0.62)
PASTED = (NormalDist(math.log(500), 0.55), 0.38)
SHORTEST, LONGEST = 5, 1600
# Answers: a gamma law of shape 1.1 (nearly exponential, median 0.7 of the mean), cut at 1,500 tokens.
ANSWER_SHAPE, ANSWER_MEAN, ANSWER_LONGEST = 1.1, 208, 1500
# The rank correlation of prompt and answer lengths in the real sample is 0.19.
RANK_CORRELATION = 0.19


def _prompt_share_below(tokens):
    return sum(weight * law.cdf(math.log(tokens)) for law, weight in (TYPED, PASTED))


def _answer_share_below(tokens):
    """The gamma law's distribution function, by the series of the lower incomplete gamma function."""
    x, a = tokens / (ANSWER_MEAN / ANSWER_SHAPE), ANSWER_SHAPE
    term = total = 1 / a
    for k in range(1, 400):
        term *= x / (a + k)
        total += term
    return total * math.exp(-x + a * math.log(x) - math.lgamma(a))


def _quantile(share_below, share, low, high):
    """Bisection to a whole token."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share_below(middle) < share else (low, middle)
    return high


def plan(dice, count):
    """`count` pairs (prompt tokens, answer tokens): even quantiles of both laws, joined by a Gaussian copula."""
    normal = NormalDist()
    rho = 2 * math.sin(math.pi * RANK_CORRELATION / 6)
    first = [normal.inv_cdf(max(dice.roll(), 1e-9)) for _ in range(count)]
    noise = [normal.inv_cdf(max(dice.roll(), 1e-9)) for _ in range(count)]
    second = [rho * a + math.sqrt(1 - rho * rho) * b for a, b in zip(first, noise, strict=True)]
    prompts = _ranked(first, lambda s: _quantile(_prompt_share_below, s, SHORTEST, LONGEST))
    answers = _ranked(second, lambda s: _quantile(_answer_share_below, s, 3, ANSWER_LONGEST))
    return list(zip(prompts, answers, strict=True))


def _ranked(scores, quantile):
    order = sorted(range(len(scores)), key=scores.__getitem__)
    lengths = [0] * len(scores)
    for rank, index in enumerate(order):
        lengths[index] = quantile((rank + 0.5) / len(scores))
    return lengths
