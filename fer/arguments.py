"""Arguments of the command line as Hydra's grammar can read them: people's paths hold more than it knows."""

import os
import re
from pathlib import Path


def readable(argument: str) -> str:
    """Return `key=path` as Hydra can read it: with the home folder for ~, and unusual characters in quotes."""
    key, equals, value = argument.partition("=")
    home = value.startswith("~/")
    if home:
        value = str(Path(value).expanduser())
    quotable = not key.startswith("-") and "'" not in value and not value.startswith(('"', "[", "{"))
    # leave alone what means something to Hydra: lists of values, interpolations, calls such as range(3), and escapes
    told = not home and ("," in value or "${" in value or re.fullmatch(r"\w+\(.*\)", value))
    escaped = os.name != "nt" and re.search(r"\\[ ()\[\]{}=,]", value)
    unusual = not value.isascii() or value.startswith("\\\\") or set(value) & set(",()[]{}=")
    if not (quotable and unusual) or told or escaped:
        return f"{key}{equals}{value}"
    last = "\\" * (len(value) - len(value.rstrip("\\")))  # before a quote, backslashes must be doubled
    return f"{key}{equals}'{value}{last}'"
