"""Reads the text files in material/ into topics, sections and snippets."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent / "material"
FIELDS = ("parts", "acts", "ills", "goods", "facts")


@dataclass(frozen=True)
class Topic:
    """Something to talk about; `slots` maps a slot name to its fillers."""

    name: str
    slots: dict


@dataclass(frozen=True)
class Snippet:
    language: str
    does: str
    code: str


def _read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def topics(*names):
    found = []
    for name in names:
        for block in re.split(r"\n\s*\n", _read(name)):
            lines = [line for line in block.splitlines() if line and not line.startswith("#")]
            if len(lines) == 1 + len(FIELDS) and " | " in lines[0]:
                found.append(_topic(lines))
    return found


def _topic(lines):
    name, who, measure = lines[0].split(" | ")
    slots = {"name": [name], "who": [who], "measure": [measure]}
    for field, line in zip(FIELDS, lines[1:], strict=True):
        label, text = line.split(": ", 1)
        if label != field:
            raise ValueError(f"{name}: expected {field}, found {label}")
        slots[field[:-1]] = _facts(text) if field == "facts" else text.split("; ")
    return Topic(name, slots)


def _facts(text):
    return [fact.strip() for fact in re.split(r"(?<=[。])|(?<=\.) ", text) if fact.strip()]


def sections(name):
    """`## title` sections of non-empty lines."""
    found = {}
    for part in re.split(r"^## ", _read(name), flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        found[title.strip()] = [line for line in body.splitlines() if line.strip()]
    return found


def word_lists(name):
    """Sections whose lines are lists parted by semicolons."""
    return {
        title: [word for line in lines for word in line.split("; ")]
        for title, lines in sections(name).items()
    }


def snippets():
    found = []
    for part in re.split(r"^=== ", _read("snippets.txt"), flags=re.M)[1:]:
        head, _, code = part.partition("\n")
        language, does = head.split(" | ")
        found.append(Snippet(language, does.strip(), code.strip("\n")))
    return found
