"""What truly happened, from the simulator's truth log."""

import json
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """A sample in ascending order."""

    values: list

    @staticmethod
    def of(values):
        return Sample(sorted(values))

    def mean(self):
        return sum(self.values) / len(self.values) if self.values else math.nan

    def percentile(self, p):
        """Linear interpolation between closest ranks, as every client here does it."""
        if not self.values:
            return math.nan
        rank = p / 100 * (len(self.values) - 1)
        below = math.floor(rank)
        above = min(below + 1, len(self.values) - 1)
        return self.values[below] + (self.values[above] - self.values[below]) * (rank - below)


@dataclass(frozen=True)
class Truth:
    """The server's own latencies, in ms: from the arrival in its kernel to the write."""

    # When the first request arrived, by the wall clock.
    first_ns: int
    ttft: Sample
    itl: Sample
    e2e: Sample


def stories(path, last):
    """The wall clock at the log's zero, and its last requests in the order of arrival: a client may ask before it measures."""
    with open(path) as lines:
        base = json.loads(next(lines))["base_unix_ns"]
        # Orders to the server are lines too, and no requests.
        found = [story for story in map(json.loads, lines) if "order" not in story]
    found.sort(key=arrival)
    return base, found[-last:]


def arrival(story):
    """When the request was there, in ns; the server's reading where the kernel did not say."""
    return story["arrived_ns"] or story["read_ns"]


def read(path, last):
    """The latencies of the last requests."""
    base, found = stories(path, last)
    ttft, itl, e2e = [], [], []
    for story in found:
        start, tokens = arrival(story), story["tokens_ns"]
        ttft.append((tokens[0] - start) / 1e6)
        e2e.append((tokens[-1] - start) / 1e6)
        itl.extend((b - a) / 1e6 for a, b in zip(tokens, tokens[1:]))
    return Truth(base + arrival(found[0]), Sample.of(ttft), Sample.of(itl), Sample.of(e2e))


def arrivals_s(path, last):
    """When the requests arrived, in seconds since the first."""
    times = [arrival(story) for story in stories(path, last)[1]]
    return [(time - times[0]) / 1e9 for time in times]


def gaps(times):
    return [b - a for a, b in zip(times, times[1:])]


def exponential_distance(gaps, rate):
    """Kolmogorov and Smirnov's distance between the gaps and the exponential law of this rate.

    No client on one thread gets below rate × (time to send a request): its arrivals are never closer than that.
    """
    return distance([1 - math.exp(-rate * gap) for gap in sorted(gaps)])


def uniform_distance(times):
    """The distance between the arrival times and the uniform law, which Poisson arrivals have within a given span."""
    return distance([time / times[-1] for time in times[1:-1]])


def distance(ranks):
    """Between the uniform law and ascending values."""
    n = len(ranks)
    return max(max((i + 1) / n - rank, rank - i / n) for i, rank in enumerate(ranks))


def critical_distance(n):
    """The distance that the law itself exceeds in 5 % of samples of this size (asymptotic)."""
    return 1.358 / math.sqrt(n)
