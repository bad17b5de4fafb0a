"""`python -m servegauge` runs the program with the same arguments."""

import os
import subprocess
import sys

from servegauge import find_program


def main() -> None:
    command = [find_program(), *sys.argv[1:]]
    if os.name == "nt":
        # Windows cannot replace a process.
        sys.exit(subprocess.run(command).returncode)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
