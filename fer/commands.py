"""What all commands do around their work: messages, errors in one sentence, exit codes."""

import argparse
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from fer.arguments import readable, without_comment
from fer.cluster import settle_rank
from fer.config import TrainConfig
from fer.errors import FerError, of_the_disk
from fer.misconfigured import explained
from fer.runs import remove_empty
from fer.terminal import console

SWEEP = "FER_SWEEP"
INTERRUPTED = 130  # what shells return for Ctrl-C

failures: list[str] = []


def quieten() -> None:
    """Silence those of Lightning's warnings that call for no action."""
    for pattern in (
        r".*does not have many workers.*",  # on a CPU, workers would take the network's cores
        r".*Checkpoint directory .* exists and is not empty.*",  # that is what resuming does
        r".*Found \d+ module\(s\) in eval mode.*",  # the frozen backbone
        r".*The number of training batches .* is smaller than the logging interval.*",  # nothing is logged by step
        r".*your dataloader is not resumable.*",  # FaceDataModule skips what was trained on already
        r".*sync_dist=True.*",  # every device evaluates the whole split
        r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's own use of PyTorch
    ):
        warnings.filterwarnings("ignore", pattern)
    for name in ("lightning.pytorch", "lightning.fabric", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


def run(command: Callable[[], Any], schema: type) -> int:
    """Run a Hydra command and return the exit status: 0, 1 after an error, 130 after Ctrl-C.

    Args:
        command: What `hydra.main` returned.
        schema: The schema of its configuration.
    """
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False, show_level=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    quieten()
    failures.clear()
    speak_as(settle_rank())
    if isinstance(sys.stdout, io.TextIOWrapper):  # on Windows, a file holds only the letters of its code page
        sys.stdout.reconfigure(errors="replace")
    os.environ.pop(SWEEP, None)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them in many lines
    try:
        sys.argv[1:] = [readable(argument) for argument in without_comment(sys.argv[1:])]
        if schema is not TrainConfig and any(map(_asks_for_several, sys.argv[1:])):
            raise FerError("-m: only train.py goes through several settings; start this command once for each")
        with _lazy_help():
            command()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        report(explained(error, schema))
    finally:
        _remove_hydras_record()
    return 1 if failures else 0


@contextmanager
def _lazy_help() -> Iterator[None]:
    """Let Hydra describe an option by something other than text, which argparse refuses since Python 3.14.

    No released Hydra runs there otherwise: https://github.com/facebookresearch/hydra/issues/3121
    """
    options: Any = argparse._ActionsContainer
    check = getattr(options, "_check_help", None)
    options._check_help = lambda *arguments: None
    try:
        yield
    finally:
        if check is None:
            del options._check_help
        else:
            options._check_help = check


def _asks_for_several(argument: str) -> bool:
    # Python's argparse takes the beginning of an option for the whole
    return argument == "-m" or ("--multirun".startswith(argument) and len(argument) > 2) or "hydra.mode=" in argument


def speak_as(rank: int) -> None:
    """Of the processes that train together, let only the first print more than errors."""
    console.quiet = rank > 0
    logging.getLogger().setLevel(logging.ERROR if rank > 0 else logging.INFO)


def _remove_hydras_record() -> None:
    """Remove Hydra's record of a sweep, which the next one would overwrite; each run's folder holds the same."""
    if SWEEP in os.environ:
        sweeps = Path(os.environ[SWEEP]).parent
        with suppress(OSError):  # where nothing can be written, there is nothing to remove
            (sweeps / "multirun.yaml").unlink()
        remove_empty(sweeps, sweeps.parent)


@contextmanager
def reporting() -> Iterator[None]:
    """Report what is raised inside, and carry on after it; if it left the job, Hydra would print lines of its own."""
    try:
        yield
    except Exception as error:
        report(error)


def report(error: Exception) -> None:
    """Print an error (its message or, if it is a defect, its traceback), and remember that there was one."""
    error = of_the_disk(error)
    failures.append(str(error))
    if isinstance(error, FerError):
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    else:
        traceback.print_exception(error)
