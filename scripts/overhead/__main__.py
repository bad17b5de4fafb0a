"""What measuring costs, and how far the measurement is from the truth: see ../overhead.sh."""

import argparse
import tempfile
from pathlib import Path

import clients
import compare
import lab
import memory
import pacing
import scraping
import start


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/overhead.sh", description=__doc__)
    questions = ["compare", "memory", "pacing", "scraping", "start"]
    parser.add_argument("question", nargs="?", default="compare", choices=questions)
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help=f"another client to compare; blanks in braces are filled in: {clients.BLANKS}",
    )
    parser.add_argument("--contrast", action="store_true", help="also servebench without the kernel's stamps")
    parser.add_argument(
        "--scene", action="append", choices=list(compare.SCENES), help="only these scenes of the comparison"
    )
    parser.add_argument("--repeat", type=int, default=1, help="medians of this many runs of each cell, or rounds of scraping")
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
    with tempfile.TemporaryDirectory(prefix="servebench-overhead-") as name:
        folder = Path(name)
        if args.question == "compare":
            others = [clients.Client.parse(text) for text in args.client]
            contrast = [clients.CONTRAST] if args.contrast else []
            everyone = [clients.FLOOR, clients.OURS, *contrast, *others]
            compare.compare(everyone, args.scene or list(compare.SCENES), cores, folder, args.repeat)
        elif args.question == "scraping":
            scraping.scraping(cores, folder, args.repeat)
        else:
            {"memory": memory.memory, "pacing": pacing.pacing, "start": start.start}[args.question](cores, folder)


if __name__ == "__main__":
    main()
