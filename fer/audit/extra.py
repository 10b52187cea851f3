"""The libraries that only an audit needs."""

from importlib import import_module
from types import ModuleType

from fer.errors import FerError


def needed(module: str) -> ModuleType:
    """Return a module of the extra `audit`.

    Raises:
        FerError: If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise FerError(f"the audit needs {package}: pip install 'fer-lightning[audit]'") from error
