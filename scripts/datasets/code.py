"""Conversations about code: with code in the prompt, in the answer, or in both."""

from . import english, material, pasted
from .tokens import estimate
from .voice import Voice

_TALK = material.sections("code-talk.txt")
_LISTS = {name: _TALK.pop(name)[0].split("; ") for name in ("trouble", "entity", "verb")}
SNIPPETS = material.snippets()
TOPICS = SNIPPETS
NAMES = {
    "python": "Python", "javascript": "JavaScript", "typescript": "TypeScript", "rust": "Rust", "go": "Go",
    "sql": "SQL", "bash": "Bash", "java": "Java", "c": "C", "html": "HTML", "css": "CSS", "yaml": "YAML",
}  # fmt: skip


class CodeVoice(Voice):
    """A voice with an entity (an invoice, a sensor) and the snippets of one language."""

    def __init__(self, dice, snippet):
        e, es, g, f = dice.pick(_LISTS["entity"]).split()
        self._names = {"E": e.capitalize(), "e": e, "es": es, "f": f, "g": g, "v": dice.pick(_LISTS["verb"])}
        others = [s for s in dice.shuffled(SNIPPETS) if s.language == snippet.language and s != snippet]
        self._snippets = [snippet, *others]
        self._next = 0
        self.dice = dice
        slots = {key: [word] for key, word in self._names.items() if key != "E"} | english.WORDS
        slots |= {"lang": [NAMES[snippet.language]], "does": [self._render(snippet.does)]}
        slots |= {"trouble": _LISTS["trouble"]}
        slots |= {"log": [f"ERROR {e}: {g} is not a number", f"WARN slow {e} ({f})", f"{e} 17: lost {f}"]}
        super().__init__(dice, _TALK, slots)

    def _render(self, template):
        for key, word in self._names.items():
            template = template.replace(f"«{key}»", word)
        while "«n»" in template:
            template = template.replace("«n»", str(self.dice.between(3, 28)), 1)
        return template

    def block(self, introduced=False):
        """The next snippet of the language, fenced; an introduced one says what it does if it is not the first."""
        snippet = self._snippets[self._next % len(self._snippets)]
        self._next += 1
        intro = f"A companion piece {self._render(snippet.does)}:\n\n" if introduced and self._next > 1 else ""
        return f"{intro}```{snippet.language}\n{self._render(snippet.code)}\n```"

    def rewind(self):
        """The answer begins with the snippet that the prompt showed."""
        self._next = 0


def voice(dice, snippet):
    return CodeVoice(dice, snippet)


def _blocks(voice, budget, introduced=False):
    blocks = [voice.block(introduced)]
    while sum(map(estimate, blocks)) < budget * 0.6 and len(blocks) < 6:
        blocks.append(voice.block(introduced))
    return blocks


def prompt(voice, budget):
    if budget <= 28:
        return voice.closest("ask", budget)
    if budget <= 130:
        question = voice.say("ask")
        return " ".join([question, *voice.fill(max(budget - estimate(question), 1), ("context",))])
    blocks = _blocks(voice, budget - 40)
    rest = budget - sum(map(estimate, blocks))
    voice.rewind()
    task = voice.say("review")
    talk = voice.fill(rest - estimate(task), ("context",)) if rest > estimate(task) + 12 else []
    return "\n\n".join([task, *blocks, *([" ".join(talk)] if talk else [])])


def follow_up(voice, budget):
    return voice.closest("follow-up", budget, 3)


def answer(voice, question, budget):
    if budget <= 70:
        return " ".join(voice.fill(budget, ("explain",)))
    intro = voice.say("intro")
    blocks = _blocks(voice, budget - 30, introduced=True)
    rest = budget - estimate(intro) - sum(map(estimate, blocks))
    text = f"{intro}\n\n" + "\n\n".join(blocks)
    if rest < 10:
        return text
    sentences = voice.fill(rest, ("explain",))
    return f"{text}\n\n{pasted.paragraphs(voice.dice, sentences)}"
