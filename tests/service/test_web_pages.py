"""The pages as a browser gets them: every entry, nothing that comes from a header as part of a page, no way to a file."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cases import Made, put_on_hold
from journals import add_case, add_delivery, add_release, add_study
from pages import served
from structlog.testing import capture_logs
from viewer import browser_page

from service import web_app
from service.tables import StudyState, cohorts

ATTACK = '<script>alert(1)</script><img src=x onerror="a()">\'"{{ 7*7 }}&'

NOWHERE = [
    "/case/0",
    "/case/999",
    "/case/-1",
    "/case/1%00",
    "/case/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/case/../../journal.sqlite",
    "/case/1/../../../journal.sqlite",
    "/case/..%2f..%2fjournal.sqlite/fusion.png",
    "/case/99999999999999999999/fusion.png",
    "/case/%D9%A1",
    "/cohort/report",
    "/cohort/../../journal.sqlite",
    "/templates/case.html",
    "/docs",
    "/openapi.json",
    "/?state=nothing",
    "/?page=x",
    "/?page=0",
    "//etc/passwd",
]


class Parts(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was told of who has seen what."""
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(web_app, "saw", lambda *words: told.append(words))
    return told


def words_of(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def test_what_stands_in_a_header_is_text_on_every_page(folder: Any, case: Made) -> None:
    number = put_on_hold(folder.journal, folder.data, case)
    with folder.journal.writing() as connection:
        connection.exec_driver_sql("UPDATE jobs SET patient_id = ?, sentence = ?", (ATTACK, ATTACK))
        connection.exec_driver_sql("UPDATE outcomes SET findings = replace(findings, 'FDG was imaged', '<b>FDG was imaged')")
    add_release(folder.journal, number, why=ATTACK, by=ATTACK[:64])
    add_delivery(folder.journal, number, "2.1", destination=ATTACK[:20], sentence=ATTACK)
    add_study(folder.journal, "9.1", patient_id=ATTACK[:60], state=StudyState.HELD, sentence=ATTACK, tracer="<b>")
    with served(folder.journal, folder.data) as site:
        for path in ("/", "/?state=held", f"/case/{number}"):
            page = site.get(path)
            assert page.status == 200
            parts = Parts(page.text)
            assert not {"script", "img", "b"} & set(parts.tags) - ({"img"} if "case" in path else set())
            assert not [name for name, _ in parts.attributes if name.startswith("on")]
            assert ATTACK[:60] in words_of(page.text) or "<script>" in words_of(page.text)
            assert "Research use only" in words_of(page.text)


def test_no_address_holds_a_patient_or_a_uid(folder: Any, case: Made, seen: list[tuple[Any, ...]]) -> None:
    number = put_on_hold(folder.journal, folder.data, case)
    add_study(folder.journal, "1.2.840.99", patient_id="SECRET-7")
    with served(folder.journal, folder.data) as site:
        for path in ("/", f"/case/{number}", "/cohort"):
            values = [str(value) for name, value in Parts(site.get(path).text).attributes if name in ("href", "src", "action")]
            assert values
            assert all(re.fullmatch(r"/(style\.css|cohort|case/\d+(/fusion\.png)?)?", value) for value in values), values
    assert not any("SECRET" in word or "1.2.840" in word for words in seen for word in words[:3])


def test_what_is_not_there_is_not_found_and_not_repeated(folder: Any) -> None:
    with served(folder.journal, folder.data) as site:
        for path in NOWHERE:
            answer = site.get(path)
            assert (answer.status, answer.text) == (404, "There is no such page.\n"), path


def test_a_case_shows_its_findings_lesions_picture_and_how_it_is_released(
    folder: Any, case: Made, seen: list[tuple[Any, ...]]
) -> None:
    number = put_on_hold(folder.journal, folder.data, case)
    with served(folder.journal, folder.data) as site:
        page = site.get(f"/case/{number}")
        words = words_of(page.text)
        picture = site.get(f"/case/{number}/fusion.png")
    assert "FDG was imaged 159 min after injection; values are not comparable." in words
    assert words.index("159 min after") < words.index("The liver is as expected.")
    assert f'duet release {number} --why "..."' in words
    assert "is on hold since" in words
    table = (case.folder / "lesions.csv").read_text().splitlines()
    assert page.text.count("<tr><td>") >= len(table) - 1 > 0
    assert picture.content == (case.folder / "fusion.png").read_bytes()
    assert picture.headers["content-type"] == "image/png"
    assert [key for _, _, key, _ in seen] == [f"case {number}", f"case {number} picture"]
    assert seen[0][:2] == ("local", "127.0.0.1")
    uids = (case.pair.fdg.study.study_instance_uid, case.pair.pentixafor.study.study_instance_uid)
    assert seen[0][3] == {"TEST01": uids}


def test_the_cohorts_report_is_served_as_it_is_and_without_scripts(folder: Any) -> None:
    home = folder.data / "cohort" / "v1"
    home.mkdir(parents=True)
    report = "<!doctype html><style>p { color: red }</style><script>x()</script><svg></svg>"
    (home / "report.html").write_text(report)
    row = {"version": 3, "fingerprint": "", "folder": "cohort/v1", "cycles": 22, "sentence": "", "made_at": 1000.0}
    with folder.journal.writing() as connection:
        connection.execute(cohorts.insert().values(**row))
        connection.execute(cohorts.insert().values(**row | {"version": 0, "sentence": "Column x <is> missing."}))
    with served(folder.journal, folder.data) as site:
        words = words_of(site.get("/cohort").text)
        page = site.get("/cohort/report")
    assert "Version 3 of the report, of 22 treatment cycles" in words
    assert "No newer report can be made: Column x <is> missing." in words
    assert page.text == report
    policy = page.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "script" not in policy
    assert "default-src 'none'" in policy


def test_a_node_that_knows_nothing_has_pages(folder: Any) -> None:
    with served(folder.journal, folder.data) as site:
        assert "The node has received no study" in words_of(site.get("/").text)
        assert "[cohort] clinical" in words_of(site.get("/cohort").text)


def test_a_page_that_fails_names_nobody(folder: Any) -> None:
    add_study(folder.journal, "1.1", patient_id="SECRET-7")
    case_folder = folder.data / "cases" / "2.25.9"
    case_folder.mkdir(parents=True)
    (case_folder / "results.json").write_text('{"lesions": SECRET-7')
    number = add_case(folder.journal, pair_uid="2.25.9", patient_id="SECRET-7")
    with served(folder.journal, folder.data) as site, capture_logs() as lines:
        answer = site.get(f"/case/{number}")
    assert (answer.status, answer.text) == (500, "This page cannot be shown now; the node's log says where it failed.\n")
    assert "a page failed" in [line["event"] for line in lines]
    assert "SECRET" not in str(lines)


def test_the_templates_ask_nothing_of_anybody_else() -> None:
    folder = Path(web_app.__file__).parent / "templates"
    texts = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    assert len(texts) == 5
    for text in texts:
        assert not re.search(r"https?://|//[a-z]|<script|style=|\|\s*safe", text)


REPORT = """<!doctype html><meta charset="utf-8"><style>p { color: teal; font-size: 40px }</style><p>Report</p>
<svg width="200" height="80" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><defs>
<style type="text/css">* { stroke: red }</style><path id="m" d="M 10 10 L 60 60" style="stroke-width: 5"/></defs>
<use xlink:href="#m"/><use xlink:href="#m" x="80"/></svg>"""


@pytest.mark.peer("chromium")
def test_a_browser_runs_nothing_shows_the_report_whole_and_needs_no_width(
    folder: Any, case: Made, program: Callable[[str], str]
) -> None:
    number = put_on_hold(folder.journal, folder.data, case)
    add_study(folder.journal, "9.1", patient_id=ATTACK[:60], state=StudyState.HELD, sentence=ATTACK)
    report = folder.data / "cohort" / "report.html"
    report.parent.mkdir()
    report.write_text(REPORT)
    row = {"version": 1, "fingerprint": "", "folder": "cohort", "cycles": 2, "sentence": "", "made_at": 1000.0}
    with folder.journal.writing() as connection:
        connection.execute(cohorts.insert().values(**row))
    told: list[str] = []
    with served(folder.journal, folder.data) as site, browser_page(Path(program("chromium"))) as page:
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda line: told.append(line.text))
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page.set_viewport_size({"width": 400, "height": 900})
        for path in ("/", f"/case/{number}", "/cohort"):
            page.goto(f"http://127.0.0.1:{site.port}{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, path
            assert page.evaluate("getComputedStyle(document.querySelector('footer')).borderTopStyle") == "solid"  # styled
        assert page.evaluate("document.styleSheets.length") == 1
        page.goto(f"http://127.0.0.1:{site.port}/cohort/report")
        within = page.screenshot()
        page.goto(report.as_uri())
        assert page.screenshot() == within
    assert told == []
