"""Templates: what data brings is escaped, what they lack is an error, and they are shipped with the package."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

import models_under_pressure
from models_under_pressure.core.display import template


@pytest.fixture
def render(tmp_path, monkeypatch):
    package = f"package_of_{tmp_path.name}"  # one a test: Python remembers where a package was found
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def rendered(source, **values):
        (tmp_path / package / "page.html.jinja").write_text(source)
        return template(package, "page.html.jinja").render(**values)

    return rendered


def test_content_attributes_and_what_macros_are_given_are_escaped(render):
    source = '{% macro cell(text) %}<td title="{{ text }}">{{ text }}</td>{% endmacro %}{{ cell(value) }}'
    escaped = "&lt;&#34;&amp;&#39;&gt;"
    assert render(source, value="<\"&'>") == f'<td title="{escaped}">{escaped}</td>'


def test_data_cannot_close_its_script_and_reads_as_it_was(render):
    source = "<script type='application/json'>{{ value | tojson }}</script>"
    drawn = render(source, value={"b": "</script>", "a": "ü"})
    assert drawn.count("</script>") == 1
    assert drawn.index('"a":"ü"') < drawn.index('"b"')


def test_a_value_that_is_missing_is_an_error(render):
    with pytest.raises(UndefinedError, match="value"):
        render("{{ value }}")


def test_every_template_can_be_loaded_as_a_resource_of_its_package():
    root = Path(models_under_pressure.__file__).parent
    found = sorted(root.rglob("*.jinja"))
    assert {path.name for path in found} >= {"page.html.jinja", "explain.html.jinja"}
    for path in found:
        package = ".".join(("models_under_pressure", *path.parent.relative_to(root).parts))
        template(package, path.name)
