"""What measuring costs, and how far the measurement is from the truth: see ../overhead.sh."""

import argparse
import tempfile
from pathlib import Path

import clients
import compare
import lab
import many
import memory
import pacing
import scraping
import start


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/overhead.sh", description=__doc__)
    questions = ["compare", "many", "memory", "pacing", "scraping", "start"]
    parser.add_argument("question", nargs="?", default="compare", choices=questions)
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help=f"another client to compare, or to pace beside long answers; blanks in braces are filled in: {clients.BLANKS}",
    )
    parser.add_argument("--contrast", action="store_true", help="also servegauge without the kernel's stamps")
    parser.add_argument(
        "--scene", action="append", choices=list(compare.SCENES), help="only these scenes of the comparison"
    )
    parser.add_argument("--reading", action="store_true", help="of pacing, only the scene with long answers")
    parser.add_argument("--repeat", type=int, default=1, help="medians of this many runs of each cell; rounds of scraping, and of pacing beside long answers")
    parser.add_argument(
        "--requests", type=int, nargs="+", default=[1_000_000, 2_000_000], help="of many: the sizes of the runs"
    )
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="real-time priority for server and client, where the machine has other work (needs the right to)",
    )
    return parser.parse_args()


def main():
    args = arguments()
    cores = lab.Cores(frozenset({args.server_core}), frozenset({args.client_core}), args.realtime)
    with tempfile.TemporaryDirectory(prefix="servegauge-overhead-") as name:
        folder = Path(name)
        others = [clients.Client.parse(text) for text in args.client]
        if args.question == "compare":
            contrast = [clients.CONTRAST] if args.contrast else []
            everyone = [clients.FLOOR, clients.OURS, *contrast, *others]
            compare.compare(everyone, args.scene or list(compare.SCENES), cores, folder, args.repeat)
        elif args.question == "pacing":
            if not args.reading:
                pacing.pacing(cores, folder)
            pacing.while_reading(others, cores, folder, args.repeat)
        elif args.question == "many":
            many.many(cores, folder, args.requests)
        elif args.question == "scraping":
            scraping.scraping(cores, folder, args.repeat)
        else:
            {"memory": memory.memory, "start": start.start}[args.question](cores, folder)


if __name__ == "__main__":
    main()
