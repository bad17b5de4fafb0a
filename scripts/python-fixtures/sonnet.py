"""What vLLM's client sent of `sonnet` as long as it had that dataset (until 0.11), from the description of its algorithm:

the mean number of tokens of a line tells how many lines make up the prompt and its shared beginning; the beginning is the
poem's first lines; the others are drawn by `random.choices`; a prompt that is longer than asked, chat template included, is
drawn again. `random` is seeded with the run's seed and nothing else draws from it before.
"""

import random

OPENING = "Pick as many lines as you can from these poem lines:\n"


def record(tokenizer, lines, seed, wanted, input_len, prefix_len, in_chat):
    """Prompts and their lengths. For a chat the text is not put through the template, but counted as if it were."""
    random.seed(seed)

    def spoken(text):
        if not tokenizer.chat_template:
            return text
        message = [{"role": "user", "content": text}]
        return tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)

    def count(text):
        return len(tokenizer(text).input_ids)

    mean = sum(count(line) for line in lines) / len(lines)
    offset = count(spoken(OPENING))
    shared = max(round((prefix_len - offset) / mean), 0)
    drawn = round((input_len - offset) / mean) - shared
    requests = []
    while len(requests) < wanted:
        text = OPENING + "".join(lines[:shared] + random.choices(lines, k=drawn))
        tokens = count(spoken(text))
        if tokens <= input_len:
            requests.append([text if in_chat else spoken(text), tokens])
    return requests, random.randrange(1_000_000)
