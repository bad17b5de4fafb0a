"""The generators of CPython and numpy by themselves."""

import random

import numpy as np

BOUNDS = [1, 2, 3, 10, 255, 256, 50257, 151643, 2**31 + 1, 2**32 - 1]
SHAPES = [0.2, 0.9, 1.0, 1.5, 30.0]


def record(seed):
    return {"random": python_random(seed), "legacy": legacy(seed), "generator": generator(seed)}


def python_random(seed):
    random.seed(seed)
    deck = list(range(30))
    return {
        "below": [random.randrange(bound) for bound in BOUNDS * 3],
        "deck": (random.shuffle(deck), deck)[1],
        "choices": [random.choice(range(7)) for _ in range(20)],
        "doubles": [random.random() for _ in range(5)],
    }


def legacy(seed):
    np.random.seed(seed)
    return {
        "doubles": np.random.random_sample(5).tolist(),
        "integers": [np.random.randint(0, bound, size=5).tolist() for bound in BOUNDS],
        "gamma": [[np.random.gamma(shape, 0.7) for _ in range(6)] for shape in SHAPES],
    }


def generator(seed):
    rng = np.random.default_rng(seed)
    return {
        "integers": [rng.integers(0, bound, size=5).tolist() for bound in BOUNDS],
        "between": rng.integers(90, 111, size=20).tolist(),
    }
