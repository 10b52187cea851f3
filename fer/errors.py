"""The error whose message is meant for the user."""


class FerError(Exception):
    """Something the user can mend; the message is one sentence that names the culprit and the way out.

    The commands print the message alone, without a traceback, and exit with a non-zero status.
    """
