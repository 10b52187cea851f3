"""Arguments of the command line as Hydra's grammar can read them: people's paths hold more than it knows."""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fer.errors import FerError

_PLAIN = re.compile(r"[\w/\-\\+.$%*@?|: ]*", re.ASCII)
"""What Hydra reads without quotes."""

_PATH = re.compile(
    r"run|resume|pictures|file|folder|logs|data_root|votes|index|data\.(root|cache_dir|exclude|votes|index)|"
    r"data\.oversample\.folder|model\.(start|weights)|distill\.teacher|others"
)
_LISTS = ("run", "others", "distill.teacher")
_NUMBER = re.compile(r"[\d_.]+([eE][+-]?\d+)?")
_HYDRAS_PLACE = re.compile(r"hydra\.(run\.dir|sweep\.dir|sweep\.subdir|job\.chdir)")


def without_comment(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments before a lone #, which macOS' zsh and Windows' cmd hand on with the comment behind it."""
    return arguments[: arguments.index("#")] if "#" in arguments else arguments


def readable(argument: str) -> str:
    """Return `key=path` as Hydra can read it: with the home folder for ~, and unusual characters in quotes.

    Raises:
        FerError: If it would move the folder that Hydra makes for a job, where nothing is put; if it holds bytes that
            are no letters in this locale, or ~ without a home folder.
    """
    key, equals, value = argument.partition("=")
    if re.search("[\ud800-\udfff]", argument):
        way = "rename it in UTF-8" if sys.getfilesystemencoding() == "utf-8" else "set PYTHONUTF8=1"
        raise FerError(f"{key}: not all bytes of its value are letters in this locale; {way}")
    moves = _HYDRAS_PLACE.fullmatch(key.lstrip("+")) and value.lower() != "false"
    if moves and "LOCAL_RANK" not in os.environ:  # Lightning gives it to the processes that it starts
        raise FerError(
            f"{key}: results do not go where Hydra would put them; leave it out, and name the place with the "
            "command's own key (train.py: logs=path), see --help"
        )
    if key.lstrip("+") in _LISTS and re.fullmatch(r"\[[^\[\]{}'\"]*\]", value) and "${" not in value:
        # as part of a list, a path is read as it would be by itself
        parts = [readable(f"{key}={part.strip()}").partition("=")[2] for part in value[1:-1].split(",")]
        return f"{key}=[{','.join(parts)}]"
    home = value.startswith("~/")
    if home:
        try:
            value = str(Path(value).expanduser())
        except RuntimeError as error:
            raise FerError(f"{key}: there is no home folder to put for ~; write the whole path") from error
    quotable = not key.startswith("-") and not value.startswith(("'", '"', "[", "{"))
    # leave alone what means something to Hydra: lists of values, interpolations, calls such as range(3), and escapes
    told = not home and (_is_list(key, value) or "${" in value or re.fullmatch(r"\w+\(.*\)", value))
    escaped = os.name != "nt" and re.search(r"\\[ ()\[\]{}=,]", value)
    number = _PATH.fullmatch(key) and _NUMBER.fullmatch(value)  # a folder such as 2026_01_31 would be read as one
    unusual = number or value.startswith("\\\\") or value.endswith("\\") or not _PLAIN.fullmatch(value)
    if not (quotable and unusual) or told or escaped:
        return f"{key}{equals}{value}"
    last = "\\" * (len(value) - len(value.rstrip("\\")))  # before a quote, backslashes must be doubled
    inner = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return f"{key}{equals}'{inner}{last}'"


def _is_list(key: str, value: str) -> bool:
    """Return whether a value has several parts, and is no name that holds a comma."""
    if _PATH.fullmatch(key) and not value.startswith("["):
        with suppress(OSError, ValueError):  # too long to be a name
            return "," in value and not Path(value).exists()
    return "," in value
