"""Allow only one process at a time in a run's folder."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from fer.errors import FerError, first_line


class ClaimedError(FerError):
    """Another process trains in this folder."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the system lets them in again however this process ends.

    The processes of a distributed training share the claim of the first.

    Args:
        folder: The folder, which must exist.

    Raises:
        ClaimedError: If another process has claimed it.
        FerError: If files cannot be locked there.
    """
    if getattr(rank_zero_only, "rank", 0):  # as `fer.cluster.settle_rank` and Lightning have set it
        yield
        return
    path = folder / ".lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ClaimedError(f"another process is training in '{folder}'; wait until it ends") from error
    except (OSError, NotImplementedError) as error:  # some network file systems
        raise FerError(
            f"'{folder}' lies where files cannot be locked ({first_line(error)}); choose another place with logs=path"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not delete open files
            path.unlink()
        lock.release()
