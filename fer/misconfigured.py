"""What is wrong with a configuration, in one sentence: Hydra's and OmegaConf's errors speak of their own internals."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import get_args

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from fer.errors import FerError, first_line

FERPLUS_KEYS = ("votes", "index", "contempt", "target", "filters")
"""Keys of the data section that mean nothing unless the data are FER+."""


def explained(error: Exception, schema: type) -> Exception:
    """Return an error of Hydra or OmegaConf as a FerError of one sentence; other errors as they are.

    Args:
        error: What was raised.
        schema: The command's schema; where an unknown key was given, a similar one of these is suggested.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        known = f"choose one of {', '.join(error.options)}" if error.options else "there is none to choose"
        return FerError(f"{group}: '{name}' is unknown; {known}")
    if isinstance(error, MissingConfigException) and str(error).startswith("Primary config directory"):
        return FerError("conf/ is not beside the package fer; install it with -e, in the folder of its repository")
    if isinstance(error, OverrideParseException):
        if error.override.startswith("data.class_map=") and not error.override.isascii():
            return FerError(
                "data.class_map: no command line takes names of these letters; write class_map in a file of your own "
                "beside conf/data/folder.yaml"
            )
        return FerError(
            f"the argument '{error.override}' cannot be read ({first_line(error)}); write key=value, and a value that "
            "holds unusual signs in quotes of its own, \"key='value'\""
        )
    if isinstance(error, ConfigCompositionException):
        cause = error.__cause__
        if isinstance(cause, OmegaConfBaseException):
            return explained(cause, schema)
        if "Multiple values for" in str(error):
            several, _, cure = first_line(error).partition(". ")
            return FerError(f"{several}; on the command line, write it without the plus; in a file: {cure}")
        if "--multirun" in str(error):
            sweeps = "trainer" in (entry.name for entry in fields(schema))
            several = "to train one after the other, write -m before the settings" if sweeps else "give one value"
            more = f"; {several}; for a list, write key=[a,b]; for a name that holds a comma, \"key='a,b'\""
            return FerError(first_line(error) + more)
        return FerError(first_line(error))
    if isinstance(error, OmegaConfBaseException):
        key = getattr(error, "full_key", None)
        if isinstance(error, ConfigAttributeError | ConfigKeyError):
            return FerError(_no_such_key(str(key), schema))
        if isinstance(error, MissingMandatoryValue):
            return FerError(f"{key}: needs a value; add {key}=…")
        return FerError(f"{key or 'configuration'}: {first_line(error)}")
    if isinstance(error, OSError) and error.filename is not None:  # Hydra makes a sweep's folder by itself
        return FerError(f"'{error.filename}' cannot be written ({error.strerror}); choose another with logs=path")
    if isinstance(error, ValueError) and "--multirun" in str(error):  # Hydra's own check of its options
        return FerError("-m trains a sweep, but --cfg and --info show a single configuration: leave one of them out")
    if isinstance(error, ValueError) and str(error).startswith("The --resolve flag"):
        return FerError("--resolve: only --cfg job takes it")
    if isinstance(error, HydraException):
        return FerError(first_line(error))
    return error


def _no_such_key(key: str, schema: type) -> str:
    known = list(_keys(schema))
    if key == "data" and "data_root" in known:
        other = "write data=folder data.root=path to score on other data; " if "others" in known else ""
        return f"data: there is none here; {other}data_root=path tells where the run's own data set lies now"
    open_section = next((section for section in known if key.startswith(f"{section}.")), None)
    if open_section:  # its keys belong to something else: a network's arguments, say
        return f"{key}: there is no such configuration key; to add it to {open_section}, write +{key}=…"
    if key.startswith("data.") and key.removeprefix("data.") in FERPLUS_KEYS:
        return f"{key}: only data=ferplus has this key"
    if key in known:
        return f"{key}: it is missing; do not leave out (~) or replace what holds it"
    meant = _similar(key, known)
    return f"{key}: there is no such configuration key; {f'is {meant} meant? ' if meant else ''}--help shows all"


def _similar(key: str, known: Sequence[str]) -> str | None:
    """Return the known key that was meant: a similar one in the same section, or one of the same name elsewhere."""
    section, _, name = key.rpartition(".")
    beside = {one.rpartition(".")[2]: one for one in known if one.rpartition(".")[0] == section}
    elsewhere = [one for one in known if one.rpartition(".")[2] == name or one.replace(".", "_") == name]
    alike = get_close_matches(name, beside, n=1)
    return beside[alike[0]] if alike else min(elsewhere, key=len, default=None)


def _keys(schema: type) -> Iterator[str]:
    for entry in fields(schema):
        inner = [kind for kind in (entry.type, *get_args(entry.type)) if isinstance(kind, type) and is_dataclass(kind)]
        if not inner:
            yield entry.name
        for kind in inner:
            yield from (f"{entry.name}.{key}" for key in _keys(kind))
