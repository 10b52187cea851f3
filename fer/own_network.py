"""The files of a user's own network and transforms, which no commit and no version of a package stands for."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from fer.files import sha256


def own_source(network: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the file that defines a network, with its SHA-256, if it is neither this package's nor an installed one's.

    Args:
        network: `model.network` of a configuration, or whatever else names a `_target_`.
    """
    target = str(network.get("_target_"))
    try:
        file = inspect.getsourcefile(get_object(target))
    except Exception:  # importing a module can raise anything; reported when the network is built
        return None
    if file is None or target.startswith("fer.") or {"site-packages", "dist-packages"} & set(Path(file).parts):
        return None
    return {"file": Path(file).name, "sha256": sha256(Path(file))}


def own_transforms(transforms: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the files that define transforms, as `own_source` does, under the places of those in the configuration.

    Args:
        transforms: `data.augment.transforms` of a configuration, which may be nested.
    """
    return {name: own for name, node in _targets(transforms) if (own := own_source(node))}


def _targets(node: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, Mapping) and "_target_" in node:
        yield name, node
    inner = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield from _targets(value, f"{name}.{key}" if name else str(key))
