"""Longer texts people paste: articles, notes, mails, transcripts, tables, logs."""

from .tokens import estimate


def paragraphs(dice, sentences):
    """Cuts a run of sentences into paragraphs of three to six."""
    blocks, start = [], 0
    while start < len(sentences):
        size = dice.between(3, 6)
        blocks.append(" ".join(sentences[start : start + size]))
        start += size
    return "\n\n".join(blocks)


def text(voice, budget, prose):
    """About `budget` tokens in one of the forms."""
    form = voice.dice.roll()
    if form < 0.40:
        return paragraphs(voice.dice, voice.fill(budget, prose))
    if form < 0.55:
        return mail(voice, budget)
    if form < 0.68:
        return "\n".join(f"- {line}" for line in voice.fill(budget * 0.88, ("note",)))
    if form < 0.80:
        return _transcript(voice, budget, prose)
    if form < 0.88:
        return paragraphs(voice.dice, voice.fill(budget, ("story",)))
    return _rows(voice, budget, _log_line if form < 0.94 else _table_row)


def mail(voice, budget):
    greeting = voice.expand("[Dear|Hello|Hi] {first},")
    ending = voice.expand("[Best regards|Kind regards|With thanks|See you soon],\n{first}")
    body = paragraphs(voice.dice, voice.fill(budget - 12, ("mail", "mail", "mail", "advice", "mail")))
    return f"{greeting}\n\n{body}\n\n{ending}"


def _transcript(voice, budget, prose):
    speakers = [voice.expand("{first}") for _ in range(voice.dice.between(2, 3))]
    lines = []
    for sentence in voice.fill(budget * 0.88, ("situation", *prose, "follow-up")):
        lines.append(f"{speakers[len(lines) % len(speakers)]}: {sentence}")
    return "\n".join(lines)


def _rows(voice, budget, row):
    lines, used = [], 0
    while used < budget:
        lines.append(row(voice, len(lines)))
        used += estimate(lines[-1]) + 1
    return "\n".join(lines)


def _log_line(voice, index):
    dice = voice.dice
    second = index * 7 + dice.below(7)
    stamp = f"{8 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{stamp} {dice.pick(('INFO', 'INFO', 'WARN', 'ERROR'))} " + voice.say("note")


def _table_row(voice, index):
    dice = voice.dice
    if index == 0:
        return voice.expand("day,place,{measure},remark")
    return f"{index}," + voice.expand("{city},{n}.") + f"{dice.below(100):02}," + voice.expand("[{ill}|{part}|ok|{first}]")
