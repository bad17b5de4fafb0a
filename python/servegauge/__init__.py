"""servegauge as a Python package: the program itself is the installed command `servegauge`."""

import os
import sys
import sysconfig

__all__ = ["find_program"]


def find_program() -> str:
    """Returns the path of the installed program, or raises FileNotFoundError with the folders that were searched."""
    name = "servegauge" + (sysconfig.get_config_var("EXE") or "")
    user_scheme = sysconfig.get_preferred_scheme("user")
    package = os.path.dirname(os.path.abspath(__file__))
    folders = [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", scheme=user_scheme),
        os.path.join(sys.base_prefix, "bin"),
        # `pip install --target`.
        os.path.join(os.path.dirname(package), "bin"),
    ]
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f"no {name} in {', '.join(folders)}: install servegauge again")
