"""HTML pages that stand alone, from the templates beside this file."""

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **content: Any) -> str:
    """Return a template filled in; text is escaped, and a name that is missing from the content is an error."""
    environment = Environment(
        loader=PackageLoader("fer", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content)


def png_uri(content: bytes) -> str:
    """Return a PNG file's content as a data URI, which a page can embed."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
