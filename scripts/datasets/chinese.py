"""Chinese conversations."""

from . import material
from .tokens import estimate
from .voice import Voice

SECTIONS = material.sections("chinese.txt")
CITIES = SECTIONS.pop("city")[0].split("; ")
TOPICS = material.topics("chinese.txt")
PROSE = ("body",)


def voice(dice, topic):
    return Voice(dice, SECTIONS, topic.slots | {"city": CITIES}, latin=False)


def _paragraphs(dice, sentences):
    size = dice.between(3, 6)
    return "\n\n".join("".join(sentences[i : i + size]) for i in range(0, len(sentences), size))


def prompt(voice, budget):
    if budget <= 24:
        return voice.closest("short-question", budget)
    if budget <= 130:
        question = voice.say("question")
        return "".join([*voice.fill(max(budget - estimate(question), 1), ("situation",)), question])
    task = voice.say("task")
    return f"{task}\n\n" + _paragraphs(voice.dice, voice.fill(budget - estimate(task), PROSE))


def follow_up(voice, budget):
    return voice.closest("follow-up", budget, 3)


def answer(voice, question, budget):
    if budget <= 24:
        return voice.closest("short-answer", budget)
    opening = voice.say("opening")
    rest = max(budget - estimate(opening), 1)
    if budget < 70:
        return "".join([opening, *voice.fill(rest, PROSE)])
    closing = voice.say("closing")
    rest -= estimate(closing)
    if "计划" in question or "建议" in question or voice.dice.chance(0.35):
        items = voice.fill(min(rest, 110), ("step",))
        opening += "\n\n" + "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1)) + "\n\n"
        rest -= min(rest, 110)
    body = _paragraphs(voice.dice, voice.fill(rest, PROSE)) if rest > 10 else ""
    return opening + body + closing
