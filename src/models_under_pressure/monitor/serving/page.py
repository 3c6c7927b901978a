"""The page at `/`: a chat whose tokens are shaded, the curve of the score and the threshold; it asks nobody but us."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models_under_pressure.core.display import template


@dataclass(frozen=True)
class Page:
    """A page as it is served."""

    html: str
    headers: Mapping[str, str]


def page() -> Page:
    """The page, and the policy under which nothing but its own style and script has any effect."""
    folder = Path(__file__).parent
    style, script = (folder.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    html = template("models_under_pressure.monitor.serving", "page.html.jinja").render(style=style, script=script)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return Page(html, {"Content-Security-Policy": policy, "X-Frame-Options": "DENY"})


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
