"""The error whose message is meant for the user."""


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
