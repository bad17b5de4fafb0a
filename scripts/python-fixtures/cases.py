"""The runs that are recorded: a name, a tokenizer, and the client's own flags."""

SEEDS = [0, 1, 2, 42, 12345]

LORA = ["--lora-modules", "red", "green", "blue"]

CASES = {
    "random": (
        "bundled",
        "--dataset-name random --num-prompts 16 --random-input-len 40 --random-output-len 20 --random-prefix-len 5"
        ' --random-range-ratio {"input":0.5,"output":0.3} --request-rate 7',
    ),
    "random-long": (
        "bundled",
        "--dataset-name random --num-prompts 3 --input-len 700 --output-len 30 --request-rate 3 --burstiness 0.4",
    ),
    "random-special": (
        "special",
        "--dataset-name random --num-prompts 8 --random-input-len 30 --random-range-ratio 0.9 --request-rate 2.5"
        " --burstiness 3",
    ),
    "random-bytes": (
        "bytes",
        "--dataset-name random --num-prompts 8 --random-input-len 24 --random-prefix-len 7 --random-range-ratio 0.2"
        " --request-rate 11 --burstiness inf",
    ),
    "sharegpt": ("bundled", "--dataset-name sharegpt --dataset-path bundled.json --num-prompts 16 --request-rate 9"),
    "sharegpt-forced": (
        "special",
        "--dataset-name sharegpt --dataset-path few.json --num-prompts 10 --output-len 3 --disable-shuffle",
    ),
    "sharegpt-few": ("bundled", "--dataset-name sharegpt --dataset-path few.json --num-prompts 20 --request-rate 4"),
    "sharegpt-no-oversample": (
        "bundled",
        "--dataset-name sharegpt --dataset-path few.json --num-prompts 20 --no-oversample",
    ),
    "custom": (
        "special",
        "--dataset-name custom --dataset-path custom.jsonl --num-prompts 7 --skip-chat-template --request-rate 5",
    ),
    "custom-few": (
        "bundled",
        "--dataset-name custom --dataset-path custom.jsonl --num-prompts 30 --skip-chat-template"
        " --custom-output-len -1 --request-rate 5 --burstiness 0.7",
    ),
    "custom-in-order": (
        "bundled",
        "--dataset-name custom --dataset-path custom.jsonl --num-prompts 5 --skip-chat-template --disable-shuffle"
        " --output-len 99",
    ),
    "prefix-repetition": (
        "bundled",
        "--dataset-name prefix_repetition --num-prompts 11 --prefix-repetition-prefix-len 12"
        " --prefix-repetition-suffix-len 9 --prefix-repetition-num-prefixes 3 --prefix-repetition-output-len 17"
        " --request-rate 6 --burstiness 2.5",
    ),
    "prefix-repetition-bytes": (
        "bytes",
        "--dataset-name prefix_repetition --num-prompts 6 --prefix-repetition-prefix-len 10"
        " --prefix-repetition-suffix-len 10 --prefix-repetition-num-prefixes 2 --output-len 5 --disable-shuffle"
        " --request-rate 6 --burstiness 0.5",
    ),
    "burstgpt": (
        "bundled",
        "--dataset-name burstgpt --dataset-path burst.csv --num-prompts 12 --request-rate 6",
    ),
    "burstgpt-few": (
        "special",
        "--dataset-name burstgpt --dataset-path burst.csv --num-prompts 40 --request-rate 8 --burstiness 0.5",
    ),
    "random-mapped": (
        "mapped",
        "--dataset-name random --num-prompts 6 --random-input-len 20 --random-prefix-len 4 --request-rate 5",
    ),
    "random-class": (
        "class",
        "--dataset-name random --num-prompts 6 --random-input-len 20 --random-prefix-len 4 --request-rate 5",
    ),
}

# Lines of the bundled poem: a tokenizer, input length, prefix length, and whether for a chat.
SONNETS = [
    ("bundled", 300, 100, False),
    ("special", 200, 0, False),
    ("templated", 300, 120, False),
    ("templated", 300, 120, True),
]
SONNET_COUNT = 12

# Arrivals alone: rate, burstiness.
ARRIVALS = [
    (rate, burstiness)
    for rate in [0.3, 20.0, 4321.0]
    for burstiness in [0.05, 0.5, 0.999, 1.0, 1.001, 2.0, 50.0, float("inf")]
]
ARRIVALS_COUNT = 100
