"""The error whose message is meant for the user."""

import errno


class FerError(Exception):
    """Something the user can fix; the message is one sentence that names the culprit and the way out.

    The commands print the message alone, without a traceback, and exit with a non-zero status.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("\n", "\\n"))  # a file's name may hold one


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return another library's whole message in one line, for a sentence of ours; the error's type if it has none."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, for a sentence of ours; the error's type if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".!")


def of_the_disk(error: Exception) -> Exception:
    """Return an error that says that nothing more can be written as a FerError; any other as it is."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", -1)):
        place = f"'{error.filename}'" if error.filename else "a file"
        return FerError(f"{place} cannot be written ({error.strerror}); make room, or choose another place")
    return error
