"""Who is let in to the pages, against callers on a real port who lie about who they are."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journals import add_case, add_study
from pages import served

from service import audit
from service.audit import AuditSettings
from service.audit_events import Refusals
from service.web_guard import FREE_FAILURES, HEADERS, Caller, Guard, Patience, Refusal
from service.web_settings import Keyhole, WebSettings

PASSWORD = "långt lösenord: ja"  # noqa: S105
PROXY = {"proxy_header": "X-Remote-User", "trusted_proxies": ("127.0.0.1",)}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return str(path)


def test_every_answer_bears_the_headers_also_a_refusal_and_an_error(folder: Any) -> None:
    with served(folder.journal, folder.data) as site:
        answers = [site.get("/"), site.get("/none"), site.get("/", method="POST"), site.get("/", Host="evil.example")]
        with folder.journal.writing() as connection:
            connection.exec_driver_sql("DROP TABLE releases")
            connection.exec_driver_sql("DROP TABLE deliveries")
            connection.exec_driver_sql("DROP TABLE outcomes")
            connection.exec_driver_sql("DROP TABLE jobs")
        answers.append(site.get("/"))
        assert [answer.status for answer in answers] == [200, 404, 405, 421, 500]
        for answer in answers:
            assert {name: answer.headers.get(name.lower()) for name in HEADERS} == HEADERS
            assert "server" not in answer.headers
        assert "script" not in HEADERS["Content-Security-Policy"]


def test_a_page_elsewhere_that_points_its_name_here_gets_nothing(folder: Any) -> None:
    with served(folder.journal, folder.data, hosts=("duet.hospital.example",)) as site:
        for host in ("evil.example", "localhost.evil.example", "evil.example:80", "", "127.0.0.1.nip.io"):
            assert site.get("/", Host=host).status in (400, 421), host
        for host in ("localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "DUET.hospital.example"):
            assert site.get("/", Host=host).status == 200, host


def test_on_loopback_nobody_is_asked_but_a_proxy_speaks_for_nobody(folder: Any) -> None:
    with served(folder.journal, folder.data) as site:
        assert site.get("/").status == 200
        for header in ("X_Forwarded_For", "Forwarded", "Via", "X_Real_IP"):
            assert site.get("/", **{header: "10.0.0.1"}).status == 403
            assert site.get("/metrics", **{header: "127.0.0.1"}).status == 403
            assert site.get("/healthz", **{header: "10.0.0.1"}).status == 200


def test_only_who_knows_user_and_password_comes_in(folder: Any, password_file: str) -> None:
    add_study(folder.journal, "1.1", patient_id="SECRET-ID")
    with served(folder.journal, folder.data, password_file=password_file, user="reading") as site:
        asked = site.get("/")
        assert (asked.status, asked.headers["www-authenticate"]) == (401, 'Basic realm="duet", charset="UTF-8"')
        assert "SECRET" not in asked.text
        wrong = ["Basic", "Basic ***", "Bearer x", basic("reading", "no"), basic("other", PASSWORD)]
        assert [site.get("/", Authorization=each).status for each in wrong[:4]] == [401] * 4
        inside = site.get("/", Authorization=basic("reading", PASSWORD))
        assert inside.status == 200
        assert "SECRET-ID" in inside.text
        assert site.get("/metrics").status == 200  # of this machine
        assert site.get("/healthz").status == 200
        assert site.get("/case/1/fusion.png").status == 401


def test_who_guesses_has_to_wait_and_not_even_the_right_word_helps_meanwhile(folder: Any, password_file: str) -> None:
    with served(folder.journal, folder.data, password_file=password_file) as site:
        guesses = [site.get("/", Authorization=basic("duet", f"guess {n}")).status for n in range(FREE_FAILURES)]
        assert guesses == [401] * FREE_FAILURES
        locked = site.get("/", Authorization=basic("duet", PASSWORD))
        assert locked.status == 429
        assert int(locked.headers["retry-after"]) >= 1


def test_who_guesses_stands_in_the_audit_trail_once_and_never_what_was_tried(
    folder: Any, password_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web_audit._refusals", Refusals("http"))
    audit.set_up(folder.data / "logs", AuditSettings(), "DUET")
    try:
        with served(folder.journal, folder.data, password_file=password_file) as site:
            for _ in range(3):
                assert site.get("/", Authorization=basic("secret-name", "secret-word")).status == 401
    finally:
        audit.close()
    written = (folder.data / "logs" / "audit.jsonl").read_text()
    (message,) = [json.loads(line)["AuditMessage"] for line in written.splitlines()]
    assert message["EventIdentification"]["EventID"]["csd-code"] == "110113"  # Security Alert
    assert message["EventIdentification"]["EventOutcomeDescription"] == "wrong user or password"
    assert message["ActiveParticipant"][0]["NetworkAccessPointID"] == "127.0.0.1"
    assert "secret" not in written


def test_pauses_double_up_to_a_minute_and_end() -> None:
    now = [0.0]
    patience = Patience(clock=lambda: now[0])
    pauses = []
    for _ in range(FREE_FAILURES + 8):
        patience.failed("10.0.0.1")
        pauses.append(patience.pause("10.0.0.1"))
    assert pauses[: FREE_FAILURES - 1] == [0.0] * (FREE_FAILURES - 1)
    assert pauses[FREE_FAILURES - 1 :] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert patience.pause("10.0.0.2") == 0.0
    now[0] = 60.0
    assert patience.pause("10.0.0.1") == 0.0
    patience.failed("2001:db8::1")
    for _ in range(FREE_FAILURES):
        patience.failed("2001:db8::ffff")
    assert patience.pause("2001:db8::2") > 0.0  # one of the same 2 to the 64 addresses
    patience.succeeded("10.0.0.1")
    patience.failed("10.0.0.1")
    assert patience.pause("10.0.0.1") == 0.0


def test_many_addresses_that_fail_fill_no_memory() -> None:
    patience = Patience()
    for number in range(3000):
        patience.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(patience._failed) == 1024


def test_a_trusted_proxy_names_the_user_and_must(folder: Any) -> None:
    with served(folder.journal, folder.data, **PROXY) as site:
        assert site.get("/", X_Remote_User="ann", X_Forwarded_For="10.0.0.9").status == 200
        assert site.get("/", X_Forwarded_For="10.0.0.9").status == 401
        assert site.get("/", X_Remote_User=" ").status == 401


def user(settings: WebSettings, address: str, path: str = "/", **headers: str) -> str | Refusal:
    """Who a caller from this address is, as the guard sees it: another machine cannot be had in a test."""

    async def nothing(*_: Any) -> None: ...

    named = tuple((name.replace("_", "-").lower(), value) for name, value in headers.items())
    caller = Caller(address=address, path=path, method="GET", headers=named)
    return Guard(nothing, settings, Keyhole.of("duet", PASSWORD) if settings.password else None)._user(caller)


def status(found: str | Refusal) -> int | str:
    return found.status if isinstance(found, Refusal) else found


def test_a_stranger_who_names_himself_is_not_believed() -> None:
    behind = WebSettings(host="10.1.0.5", proxy_header="X-Remote-User", trusted_proxies=("10.1.0.1/32",))
    assert user(behind, "10.1.0.1", X_Remote_User="ann") == "ann"
    assert user(behind, "::ffff:10.1.0.1", X_Remote_User="ann") == "ann"
    assert status(user(behind, "10.1.0.2", X_Remote_User="ann")) == 403
    assert status(user(behind, "127.0.0.1", X_Remote_User="ann")) == 403
    both = replace(behind, password_env="P")  # noqa: S106  a variable's name
    assert status(user(both, "10.1.0.2", X_Remote_User="ann")) == 401
    assert user(both, "10.1.0.2", Authorization=basic("duet", PASSWORD)) == "duet"


def test_metrics_are_for_this_machine_and_listed_networks() -> None:
    settings = WebSettings(host="10.1.0.5", password_env="P", metrics_networks=("10.2.0.0/16",))  # noqa: S106  a variable's name
    assert user(settings, "127.0.0.1", "/metrics") == ""
    assert user(settings, "10.2.3.4", "/metrics") == ""
    assert status(user(settings, "10.3.0.1", "/metrics")) == 401
    assert status(user(settings, "10.2.3.4", "/metrics", X_Forwarded_For="1.2.3.4")) == 401
    assert status(user(settings, "10.2.3.4", "/")) == 401


def test_two_headers_of_one_name_are_no_user() -> None:
    async def nothing(*_: Any) -> None: ...

    settings = WebSettings(host="10.1.0.5", proxy_header="X-Remote-User", trusted_proxies=("10.1.0.1",))
    named = (("x-remote-user", "ann"), ("x-remote-user", "root"))
    caller = Caller(address="10.1.0.1", path="/", method="GET", headers=named)
    assert status(Guard(nothing, settings, None)._user(caller)) == 401


def test_what_is_refused_tells_nothing_of_what_is_there(folder: Any, password_file: str) -> None:
    number = add_case(folder.journal)
    with served(folder.journal, folder.data, password_file=password_file) as site:
        assert site.get(f"/case/{number}").text == site.get("/case/999").text
