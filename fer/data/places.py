"""Where this program keeps files that it can make again."""

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """Return `$FER_CACHE_DIR`, else `$XDG_CACHE_HOME/fer-lightning`, else `~/.cache/fer-lightning`."""
    if own := os.environ.get("FER_CACHE_DIR"):
        return Path(own).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "fer-lightning"
    return Path("~/.cache/fer-lightning").expanduser()
