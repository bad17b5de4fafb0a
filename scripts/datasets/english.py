"""English conversations: questions, pasted texts, and answers in several forms."""

import re

from . import material, pasted
from .tokens import estimate
from .voice import Voice

SECTIONS = material.sections("sentences.txt")
WORDS = material.word_lists("words.txt")
TOPICS = material.topics("topics-home.txt", "topics-world.txt")
# Mostly plain sentences, with the other kinds strewn in.
PROSE = ("body", "body", "body", "example", "body", "body", "advice", "body", "caveat")


def voice(dice, topic):
    return Voice(dice, SECTIONS, topic.slots | WORDS)


def prompt(voice, budget):
    """A first message of about `budget` tokens."""
    if budget <= 28:
        return voice.closest("short-question", budget)
    if budget <= 130 or voice.dice.chance(0.12):
        return _typed(voice, budget)
    return _pasted(voice, budget)


def _typed(voice, budget):
    question = voice.closest("question", budget, 3)
    rest = budget - estimate(question)
    if rest < 8:
        return question
    situation = " ".join(voice.fill(rest, ("situation",)))
    return f"{situation} {question}" if voice.dice.chance(0.6) else f"{question} {situation}"


def _pasted(voice, budget):
    task = voice.say("task")
    text = pasted.text(voice, budget - estimate(task), PROSE)
    return f"{text}\n\n{task.rstrip(':')}" if voice.dice.chance(0.35) else f"{task}\n\n{text}"


def follow_up(voice, budget):
    if budget < 40:
        return voice.closest("follow-up", budget, 4)
    return " ".join([voice.say("follow-up"), *voice.fill(budget - 15, ("situation",))])


def answer(voice, question, budget):
    """An answer of about `budget` tokens in the form that the question asks for."""
    if budget <= 32:
        return voice.closest("short-answer", budget)
    head = question[:200].lower() + question[-200:].lower()
    if budget > 60 and re.search(r"\bmail\b", head):
        return pasted.mail(voice, budget)
    if budget > 60 and re.search(r"\bstory\b|\bpoem\b|\bsonnet\b", head):
        return " ".join(voice.fill(budget, ("story",)))
    if re.search(r"\btips\b|mistakes|\bguide\b|\bplan\b|checklist|steps?\b|list", head) or voice.dice.chance(0.4):
        return _listed(voice, budget)
    return _prose(voice, budget)


def _prose(voice, budget):
    opening, closing = voice.say("opening"), voice.say("closing")
    rest = budget - estimate(opening) - (estimate(closing) if budget > 90 else 0)
    sentences = [opening, *(voice.fill(rest, PROSE) if rest > 8 else [])]
    if budget > 90:
        sentences.append(closing)
    return pasted.paragraphs(voice.dice, sentences)


def _listed(voice, budget):
    role = voice.dice.pick(("step", "bullet"))
    opening = voice.say("opening")
    share = 1.0 if budget < 200 else 0.6
    items = voice.fill(max((budget - estimate(opening)) * share - 20, 30), (role,))[:12]
    if role == "step":
        lines = [f"{number}. {item}" for number, item in enumerate(items, 1)]
    else:
        lines = [f"- {item}" for item in items]
    text = f"{opening}\n\n" + "\n".join(lines)
    rest = budget - estimate(text)
    if rest < 25:
        return text
    return f"{text}\n\n{pasted.paragraphs(voice.dice, voice.fill(rest, PROSE))}"
