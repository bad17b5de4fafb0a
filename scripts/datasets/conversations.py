"""Puts conversations together: which kind, how long, how many turns, and nothing twice."""

import math

from . import chinese, code, english, lengths
from .dice import Dice

SHARES = ((english, 0.80), (code, 0.12), (chinese, 0.08))
# A third of the conversations has more than one exchange: messages and their share.
MESSAGES = ((2, 0.66), (4, 0.18), (6, 0.10), (8, 0.06))


def corpus(seed, count):
    """`count` conversations in ShareGPT's shape; the same for the same seed."""
    dice = Dice(f"{seed}: plan")
    kinds = dice.shuffled(_portions(SHARES, count))
    messages = dice.shuffled(_portions(MESSAGES, count))
    pairs = lengths.plan(dice, count)
    desk = _Desk()
    return [
        {
            "id": f"bundled_{index:04}",
            "conversations": desk.converse(Dice(f"{seed}: {index}"), kind, turns, pair),
        }
        for index, (kind, turns, pair) in enumerate(zip(kinds, messages, pairs, strict=True))
    ]


def _portions(shares, count):
    portions = [item for item, share in shares for _ in range(round(share * count))]
    return (portions + [shares[0][0]] * count)[:count]


class _Desk:
    """Remembers what was written, so that no first prompt and no answer comes twice."""

    def __init__(self):
        self._prompts, self._answers = set(), set()

    def converse(self, dice, kind, messages, pair):
        for _ in range(100):
            voice = kind.voice(dice, dice.pick(kind.TOPICS))
            question = kind.prompt(voice, pair[0])
            if question not in self._prompts:
                break
        else:
            raise RuntimeError(f"{kind.__name__}: no new prompt of {pair[0]} tokens in 100 tries; write more templates")
        self._prompts.add(question)
        turns = [_turn("human", question), _turn("gpt", self._answer(kind, voice, question, pair[1]))]
        while len(turns) < messages:
            question = kind.follow_up(voice, math.ceil(12 * math.exp(dice.roll() * 1.8)))
            budget = 20 + 150 * -math.log(1 - dice.roll())
            turns += [_turn("human", question), _turn("gpt", self._answer(kind, voice, question, budget))]
        return turns

    def _answer(self, kind, voice, question, budget):
        for attempt in range(100):
            answer = kind.answer(voice, question, budget + attempt // 10)
            if answer not in self._answers:
                self._answers.add(answer)
                return answer
        raise RuntimeError(f"{kind.__name__}: no new answer of {budget} tokens in 100 tries; write more templates")


def _turn(speaker, text):
    return {"from": speaker, "value": text.strip()}
