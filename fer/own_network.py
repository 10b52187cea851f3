"""The file of a user's own network, which no commit and no version of a package stands for."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from fer.files import sha256


def own_source(network: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the file that defines a network, with its SHA-256, if it is neither this package's nor an installed one's.

    Args:
        network: `model.network` of a configuration.
    """
    target = str(network.get("_target_"))
    try:
        file = inspect.getsourcefile(get_object(target))
    except Exception:  # importing a module can raise anything; reported when the network is built
        return None
    if file is None or target.startswith("fer.") or {"site-packages", "dist-packages"} & set(Path(file).parts):
        return None
    return {"file": Path(file).name, "sha256": sha256(Path(file))}
