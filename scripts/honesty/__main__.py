"""How honest compare and gate are on real runs against simulated servers: see ../honesty.sh."""

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import judges
import servers


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/honesty.sh", description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of runs for each loss and number of requests")
    parser.add_argument("--slower", default="0", metavar="PERCENT,...", help="how much slower every candidate is")
    parser.add_argument("--requests", default="1200", metavar="N,...", help="requests in a run")
    parser.add_argument("--rate", type=float, default=20, help="requests per second")
    parser.add_argument("--together", type=int, default=4, help="pairs at a time: the machine must stay idle enough")
    parser.add_argument("--judge", default="compare", metavar="NAME,...", help=f"of {', '.join(judges.JUDGES)}")
    parser.add_argument("--anyway", action="store_true", help="judge INVALID runs too, which a busy machine makes")
    parser.add_argument("--program", type=Path, default=Path("target/release/servegauge"))
    return parser.parse_args()


def numbers(text, kind):
    return [kind(word) for word in text.split(",")]


def measure(args, percent, requests, folder):
    """What the judges say of each pair."""

    def pair(number):
        place = folder / f"{percent}-{requests}-{number}"
        place.mkdir()
        load = servers.Load(args.rate, requests)
        with ThreadPoolExecutor(2) as both:
            base = both.submit(servers.run, args.program, load, 1.0, 2 * number, place / "base.json")
            candidate = both.submit(
                servers.run, args.program, load, 1 + percent / 100, 2 * number + 1, place / "candidate.json"
            )
            files = base.result(), candidate.result()
        return [judges.JUDGES[name](args.program, *files, args.anyway) for name in args.judge.split(",")]

    with ThreadPoolExecutor(args.together) as pool:
        return list(pool.map(pair, range(args.pairs)))


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="servegauge-honesty-") as name:
        for percent in numbers(args.slower, float):
            for requests in numbers(args.requests, int):
                verdicts = measure(args, percent, requests, Path(name))
                print(f"\n{percent:g} % slower, {requests} requests at {args.rate:g} a second, {args.pairs} pairs")
                for judge in zip(*verdicts):
                    judges.table(judge)


if __name__ == "__main__":
    main()
