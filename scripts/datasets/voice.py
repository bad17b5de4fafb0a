"""A voice speaks about one topic: it fills templates and avoids repeating itself."""

import re

from .tokens import estimate

DOUBLED = set(
    "begin cancel chop cut dim drop fit get label let log map pin plan plot prefer put repot run set skip split stop thin "
    "travel trim".split()
)
SLOT = re.compile(r"\{([a-z]+)([.:][a-z]+)?\}")
CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")


def gerund(phrase):
    """"feed the starter" -> "feeding the starter"."""
    verb, space, rest = phrase.partition(" ")
    if verb in DOUBLED:
        verb += verb[-1]
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        verb = verb[:-1]
    return f"{verb}ing{space}{rest}"


class Bag:
    """Draws without putting back until empty, then starts over."""

    def __init__(self, dice, items):
        self._dice, self._items, self._deck = dice, items, []

    def draw(self, avoid=()):
        if not self._deck:
            self._deck = self._dice.shuffled(self._items)
        for index, item in enumerate(self._deck):
            if item not in avoid:
                return self._deck.pop(index)
        return self._deck.pop()


class Voice:
    def __init__(self, dice, sections, slots, latin=True):
        self.dice, self._latin = dice, latin
        self._templates = {role: Bag(dice, lines) for role, lines in sections.items()}
        self._slots = {name: Bag(dice, items) for name, items in slots.items()}
        self._said = set()

    def say(self, role):
        """One sentence of that role, new in this conversation if that can be had."""
        for _ in range(8):
            sentence = self.expand(self._templates[role].draw())
            if sentence not in self._said:
                break
        self._said.add(sentence)
        return sentence

    def closest(self, role, budget, tries=14):
        """Of several sentences, the one whose length is nearest to the budget."""
        return min((self.say(role) for _ in range(tries)), key=lambda s: abs(estimate(s) - budget))

    def fill(self, budget, roles):
        """Sentences until the budget is used up; `roles` is cycled through."""
        said, used = [], 0
        while True:
            sentence = self.say(roles[len(said) % len(roles)])
            cost = estimate(sentence)
            if said and used + cost / 2 > budget:
                return said
            said.append(sentence)
            used += cost

    def expand(self, template):
        """Chooses, fills the slots, and mends articles and capitals."""
        text, used = template, set()
        while CHOICE.search(text):
            text = CHOICE.sub(lambda m: self.dice.pick(m[1].split("|")), text, count=1)
        text = SLOT.sub(lambda m: self._slot(m[1], m[2], used), text)
        if SLOT.search(text):
            text = SLOT.sub(lambda m: self._slot(m[1], m[2], used), text)
        return self._mend(template, text) if self._latin else text

    def _slot(self, name, form, used):
        if name == "n":
            return str(self.dice.between(3, 45))
        if name == "pct":
            return str(self.dice.between(2, 70))
        if name == "money":
            return f"{self.dice.between(2, 90) * 10} {self.dice.pick(('euros', 'dollars', 'pounds'))}"
        word = self._slots[name].draw(used)
        used.add(word)
        if form == ":ing":
            return gerund(word)
        return word.removeprefix("the ") if form == ".bare" else word

    def _mend(self, template, text):
        text = re.sub(r'(^|[.:!?] )"([a-z])', lambda m: f'{m[1]}"{m[2].upper()}', text)
        text = re.sub(r"\b([Aa]) (?=[aeio]\w|unp|uns|unr|18\b|8\b|11\b)", r"\1n ", text)
        text = re.sub(r"([.!?])\.", r"\1", text)
        if template[0] in "{[" or template.startswith("**{"):
            text = re.sub(r"^(\**)(\w)", lambda m: m[1] + m[2].upper(), text, count=1)
        return re.sub(r"([.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)
