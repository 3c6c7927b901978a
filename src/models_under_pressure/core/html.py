"""Text from templates that stand beside the modules which fill them in; in HTML, everything from data is escaped."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(package: str, name: str) -> Template:
    """The template of that name in the folder of a package."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=not name.endswith(".md.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # `tojson` also escapes what could close the script element that data stands in.
    compact = {"ensure_ascii": False, "sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    environment.policies["json.dumps_kwargs"] = compact
    return environment.get_template(name)
