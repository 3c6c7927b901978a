"""The report page in a real browser: draws, logs no error, asks the network for nothing."""

import json
import os
import re
import shutil
import subprocess

import pytest

from models_under_pressure.report.page import render_page

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None and not os.environ.get("MUP_REQUIRE_BROWSER"),
        reason="no Chromium or Chrome (MUP_REQUIRE_BROWSER=1 makes that an error)",
    ),
]


def browse(page, folder, *arguments):
    assert BROWSER is not None, "install chromium"
    return subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=20000",
            "--enable-logging=stderr",
            *arguments,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_page(report))
    return path


def test_every_chart_is_drawn_without_an_error_or_a_request(page, report, tmp_path):
    log = tmp_path / "net.json"
    done = browse(page, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert done.stdout.count('data-drawn="yes"') == len(report.figures)
    assert done.stdout.count("<svg") >= len(report.figures)
    assert "could not be drawn: " not in done.stdout.split('<script type="module">')[0]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    assert "<title>owned" not in done.stdout
    events = json.loads(log.read_text())
    kinds = {number: name for name, number in events["constants"]["logEventTypes"].items()}
    urls = {
        event["params"]["url"]
        for event in events["events"]
        if kinds[event["type"]] == "URL_REQUEST_START_JOB" and "url" in event.get("params", {})
    }
    assert {url for url in urls if re.match(r"https?:|wss?:", url) and "google" not in url} == set()


SEARCHES = [
    ({"text": "0002"}, 1),
    ({"text": "🧑‍🚒 FIRE"}, 3),
    ({"text": "nowhere"}, 0),
    ({"dataset": "mt_dev"}, 1),
    ({"choice": "most_wrong"}, 1),
    ({"choice": "highest", "text": "0000"}, 1),
]
"""What a visitor fills in, and the heat maps that are left."""
SEARCH = """
let told = [];
for (const fields of SEARCHES) {
  for (const name of ["text", "dataset", "choice"]) {
    const field = document.getElementById(`tokens-${name}`);
    field.value = fields[name] ?? "";
    field.dispatchEvent(new Event("input"));
  }
  const shown = [...document.querySelectorAll("details.map")].filter(one => !one.hidden).length;
  const said = document.body.innerText.match(/\\d+ of 3 records/)[0];
  told.push(`${shown}: ${said}`);
}
document.body.innerHTML = `<pre id="told">${JSON.stringify(told)}</pre>`;
"""


def test_heat_maps_are_found_by_text_id_dataset_and_choice(page, tmp_path):
    """A visitor's typing, by a script that only this copy of the page, without its policy, lets run."""
    source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    typed = SEARCH.replace("SEARCHES", json.dumps([fields for fields, _ in SEARCHES]))
    copy = tmp_path / "typed.html"
    copy.write_text(source.replace("</body>", f"<script type='module'>{typed}</script></body>"))
    (told,) = re.findall(r'<pre id="told">(.*?)</pre>', browse(copy, tmp_path, "--dump-dom").stdout)
    assert json.loads(told) == [f"{shown}: {shown} of 3 records" for _, shown in SEARCHES]


def test_a_page_that_would_fail_is_noticed(page, tmp_path):
    """The checks above can fail: a broken specification and a foreign script show on the console."""
    broken = tmp_path / "broken.html"
    source = page.read_text().replace('"$schema"', '"mark":3,"$schema"', 1)
    broken.write_text(source.replace("</body>", "<script>document.title='owned'</script></body>"))
    done = browse(broken, tmp_path, "--dump-dom")
    assert "<title>owned" not in done.stdout
    assert "CONSOLE" in done.stderr
    assert "Content Security Policy" in done.stderr


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("dark", ("--window-size=1280,7000", "--blink-settings=preferredColorScheme=0")),
        ("phone", ("--window-size=500,2200",)),
    ],
)
def test_a_screenshot_can_be_taken(page, tmp_path, name, arguments):
    picture = tmp_path / f"report-{name}.png"
    browse(page, tmp_path, "--hide-scrollbars", f"--screenshot={picture}", *arguments)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_it_prints(page, tmp_path):
    paper = tmp_path / "report.pdf"
    browse(page, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
    assert paper.stat().st_size > 50_000
