"""Seeded chance, built on `random()` alone: the only sequence Python promises to keep between versions."""

import random


class Dice:
    def __init__(self, seed):
        self._random = random.Random(seed)

    def roll(self):
        """A number in [0, 1)."""
        return self._random.random()

    def below(self, bound):
        return int(self.roll() * bound)

    def between(self, low, high):
        """An integer from low to high, both included."""
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def chance(self, probability):
        return self.roll() < probability

    def shuffled(self, items):
        """Fisher and Yates on a copy."""
        deck = list(items)
        for last in range(len(deck) - 1, 0, -1):
            other = self.below(last + 1)
            deck[last], deck[other] = deck[other], deck[last]
        return deck
