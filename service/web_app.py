"""The addresses of the pages. Imported by the pages' own thread alone, since what it rests on takes long to load.

Nothing takes a path, a UID or a Patient ID from an address: a case is asked for by its number, which is looked up. Nothing
changes anything.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException

from service import cohorts
from service.casebook import JobRow
from service.logs import logger
from service.watched import Watched, faults
from service.web_audit import saw
from service.web_guard import CSP, OWN_DOCUMENT
from service.web_metrics import Scrape
from service.web_pages import Material, case_facts, case_view, cohort_facts, environment, job_of, page_number, worklist_facts
from service.worklist import STATES


def application(watched: Watched, material: Material) -> FastAPI:
    """Every page, without its guard."""
    app = FastAPI(title="duet", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _add_machines_pages(app, watched)
    _add_peoples_pages(app, material)
    app.add_exception_handler(HTTPException, _no_page)
    app.add_exception_handler(Exception, _failed)
    return app


def _add_machines_pages(app: FastAPI, watched: Watched) -> None:
    scrape = Scrape(watched)

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    def healthz() -> Response:
        found = faults(watched)
        return JSONResponse({"status": "failing", "failing": found}, 503) if found else JSONResponse({"status": "ok"})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(scrape.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _add_peoples_pages(app: FastAPI, material: Material) -> None:
    templates = environment(material)
    style = templates.get_template("style.css").render()

    def page(name: str, facts: Mapping[str, Any]) -> Response:
        return HTMLResponse(templates.get_template(name).render(**facts))

    @app.get("/style.css")
    def style_sheet() -> Response:
        return Response(style, media_type="text/css")

    @app.get("/")
    def worklist(request: Request) -> Response:
        state, number = request.query_params.get("state", ""), page_number(request.query_params.get("page", "1"))
        if (state and state not in STATES) or number is None:
            raise HTTPException(404)
        facts = worklist_facts(material, state, number)
        _saw(request, f"worklist {state or 'all'} {facts['number']}", {row["patient_id"]: () for row in facts["rows"]})
        return page("worklist.html", facts)

    @app.get("/case/{number}")
    def case(request: Request, number: str) -> Response:
        view = case_view(material, number)
        if view is None:
            raise HTTPException(404)
        _saw(request, f"case {view.job.id}", _of(view.job))
        return page("case.html", case_facts(material, view))

    @app.get("/case/{number}/fusion.png")
    def fusion(request: Request, number: str) -> Response:
        job = job_of(material, number)
        picture = None if job is None else material.data / "cases" / job.pair_uid / "fusion.png"
        if job is None or picture is None or not picture.is_file():
            raise HTTPException(404)
        _saw(request, f"case {job.id} picture", _of(job))
        return FileResponse(picture, media_type="image/png")

    @app.get("/cohort")
    def cohort() -> Response:
        return page("cohort.html", cohort_facts(material))

    @app.get("/cohort/report")
    def report(request: Request) -> Response:
        row = cohorts.newest(material.journal)
        file = None if row is None else material.data / row.folder / "report.html"
        if file is None or not file.is_file():
            raise HTTPException(404)
        _saw(request, "cohort report", {})
        return FileResponse(file, media_type="text/html", headers={CSP: OWN_DOCUMENT})


def _saw(request: Request, key: str, patients: Mapping[str, Sequence[str]]) -> None:
    saw(str(getattr(request.state, "user", "")), request.client.host if request.client else "", key, patients)


def _of(job: JobRow) -> Mapping[str, Sequence[str]]:
    return {job.patient_id: (job.fdg_study, job.pentixafor_study)}


async def _no_page(_request: Request, error: Exception) -> Response:
    """In our words, and without what was asked for."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    return PlainTextResponse("There is no such page.\n" if status == 404 else "This cannot be asked for.\n", status)


async def _failed(_request: Request, error: Exception) -> Response:
    """The stranger learns nothing; the log where it happened, not the message, which may quote a row."""
    frames = "".join(traceback.format_tb(error.__traceback__)[-12:])
    logger().error("a page failed", error=type(error).__name__, where=frames)
    return PlainTextResponse("This page cannot be shown now; the node's log says where it failed.\n", 500)
