"""The command `duet`: the one place where things are built, and the one that prints.

Everything heavy is imported inside the command that needs it, so that `duet --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from analysis.errors import BadSettings, Rejected
from service import cli_keep, worker_commands

FAILED = 1  # exit status: this machine does not allow it
REJECTED = 2  # exit status: the data or the settings were turned away

app = typer.Typer(
    name="duet",
    help="Dual-tracer ([18F]FDG and [68Ga]PentixaFor) PET/CT in multiple myeloma. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

models = typer.Typer(
    help="Trained networks: what is installed, whether it may be loaded, and how new ones come.", no_args_is_help=True
)
app.add_typer(models, name="models")
app.command()(worker_commands.scheduler)
app.command()(worker_commands.worker)

Config = Annotated[Path | None, typer.Option("--config", help="duet.toml; without it the defaults hold, below ./duet-data.")]


def main() -> None:
    """Run a command; bad data end in one sentence and exit status 2, a file or folder that cannot be used in status 1."""
    try:
        app()
    except Rejected as error:
        typer.echo(f"duet: {error}", err=True)
        sys.exit(REJECTED)
    except BrokenPipeError:
        sys.exit(FAILED)
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        typer.echo(f"duet: {error.strerror or type(error).__name__}{named}", err=True)
        sys.exit(FAILED)


@app.command()
def serve(config: Config = None) -> None:
    """The node: receives studies, analyses pairs, returns results."""
    import signal
    from types import FrameType

    from service import logs
    from service.config import load
    from service.node import Node

    os.umask(0o077)  # what lies below the data folder is patients' data: for the node's user alone
    settings = load(config)
    logs.set_up(settings.node.data / "logs")
    for name in settings.unheeded:
        typer.echo(f"{settings.source}: section {name!r} has no effect in this version.", err=True)
    node = Node(settings)

    def end(_number: int, _frame: FrameType | None) -> None:
        node.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if not node.run(typer.echo):
        raise typer.Exit(1)


@app.command()
def status(
    patient: Annotated[str | None, typer.Argument(help="Patient ID; without it all patients.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    undelivered: Annotated[
        bool, typer.Option("--undelivered", help="Instead: what destinations are owed, how often tried, when again, why.")
    ] = False,
    config: Config = None,
) -> None:
    """What the node knows: received, waiting (for what), held (why), running, returned, delivered; every case's findings."""
    from service.config import load
    from service.render import show_overview, show_undelivered

    show = show_undelivered if undelivered else show_overview
    show(load(config), patient, json=as_json)


@app.command()
def resend(
    case: Annotated[str | None, typer.Argument(help="A case's number in `duet status`, or its UID or its beginning.")] = None,
    destination: Annotated[str | None, typer.Option("--destination", help="To this one alone.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of every case, and the cohort's report.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was delivered already.")] = False,
    config: Config = None,
) -> None:
    """Try now what waits for its next try or was parked; with --again also send what was delivered once more."""
    from service.config import load
    from service.desk import Resend, resend_now

    typer.echo(resend_now(load(config), Resend(case=case, destination=destination, everything=everything, again=again)))


@app.command()
def release(
    case: Annotated[str, typer.Argument(help="The case's number in `duet status`, or its UID or the beginning of that.")],
    why: Annotated[str, typer.Option("--why", help="The reason; it stands in the journal and in every report.")],
    by: Annotated[str | None, typer.Option("--by", help="Who decided; without it this machine's user.")] = None,
    config: Config = None,
) -> None:
    """Let a case go that a quality check holds: its results are sent, with who released it and why in their reports."""
    from service.config import load
    from service.desk import release_case

    typer.echo(release_case(load(config), case, by=by, why=why))


@app.command()
def check(config: Config = None) -> None:
    """Settings, disk, database, door, destinations, weights, GPU: one line each, exit status 1 on a fault."""
    from service.checks import run_checks

    faults = 0
    for name, fault, message in run_checks(config):
        typer.echo(f"{'FAULT' if fault else 'ok   '}  {name}: {message}")
        faults += fault
    if faults:
        raise typer.Exit(1)


@app.command()
def analyse(
    fdg_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with the FDG study.")],
    pentixafor_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with the PentixaFor study.")],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Where the results go.")],
    nifti: Annotated[bool, typer.Option("--nifti", help="Also write volumes, lesions and anatomy as NIfTI.")] = False,
    preset: Annotated[str, typer.Option("--preset", help='A named set of settings, such as "paper".')] = "",
    config: Config = None,
) -> None:
    """One pair from two folders of mixed DICOM files, without a network."""
    from service.config import load
    from service.folders import Telling, analyse_folders
    from service.render import progress_bar

    def note(sentence: str) -> None:
        typer.echo(f"note: {sentence}", err=True)

    with progress_bar() as progress:
        telling = Telling(progress=progress, note=note)
        settings = load(config).with_preset(preset) if preset else load(config)
        done = analyse_folders(settings, (fdg_dir, pentixafor_dir), out, telling, nifti=nifti)
    for finding in done.findings:
        note(finding)
    typer.echo(done.summary)
    typer.echo(f"Results in {out}; the picture to open first is {out / 'fusion.png'}. Research use only.")
    if done.holds:
        typer.echo("ON HOLD: a node would send nothing of this case until an operator has released it, because:")
        for reason in done.holds:
            typer.echo(f"  {reason}")


@app.command()
def retrieve(
    patients: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV or XLSX: patient_id, accession or study_uid; dates.")
    ],
    archive: Annotated[str, typer.Option("--from", help="The name of an [[archive]] of duet.toml.")],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where the table goes.")] = Path("retrieve.csv"),
    since: Annotated[str, typer.Option("--since", help="First day, as 2026-03-31, where a row has none.")] = "",
    until: Annotated[str, typer.Option("--until", help="Last day, where a row has none.")] = "",
    config: Config = None,
) -> None:
    """Every PET/CT of a list of patients from an archive into the node; exit status 1 where something is missing."""
    from service.config import load
    from service.render import progress_bar
    from service.retrieval_command import Asked, retrieve
    from service.retrieval_table import lines

    asked = Asked(patients=patients, archive=archive, out=out, since=since, until=until)
    with progress_bar() as tell:
        rows = retrieve(load(config), asked, tell)
    for line in lines(rows):
        typer.echo(line)
    typer.echo(f"The table is {out}.")
    if not all(row.complete for row in rows):
        raise typer.Exit(FAILED)


@app.command()
def cohort(
    clinical: Annotated[
        Path | None,
        typer.Option("--clinical", dir_okay=False, help="CSV or XLSX, a row for each cycle: docs/CLINICAL.md."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option("--features", help="features.csv or a folder of results; else the node's cases."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", file_okay=False, help="Where the report goes.")] = None,
    preset: Annotated[str, typer.Option("--preset", help='"paper": an unknown response counts as none.')] = "",
    send: Annotated[bool, typer.Option("--send", help="A new version of the report to every destination, now.")] = False,
    config: Config = None,
) -> None:
    """What features say of response and survival: a report with tables and figures. No prediction for a patient."""
    from service.cohort_command import Asked, report_into, send_now
    from service.config import load
    from service.render import progress_bar

    if (out is None) != send:
        raise BadSettings("Say where the report goes: --out FOLDER, or --send for the archive.")
    asked = Asked(clinical=clinical, features=features, preset=preset)
    with progress_bar() as tell:
        if out is None:
            lines: Sequence[str] = (send_now(load(config), asked, tell),)
        else:
            lines = report_into(load(config), asked, out, tell)
    for line in lines:
        typer.echo(line)
    if out is not None:
        typer.echo(f"The report is {out / 'report.html'}, and as PDF beside it. Research use only.")


@app.command()
def suv(
    series_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with one PET series.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    nifti: Annotated[Path | None, typer.Option("--nifti", dir_okay=False, help="Write the SUV volume to this file.")] = None,
    config: Config = None,
) -> None:
    """Tracer, SUV factor, reference times and warnings of a PET series; exit status 2 and a reason where it must refuse."""
    from service.config import load
    from service.folders import suv_of_folder

    report = suv_of_folder(series_dir, load(config), nifti)
    typer.echo(report.as_json() if as_json else report.as_text())


@app.command()
def show(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A DICOM SEG or SR of any maker.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """The segments of a SEG or the measurements of an SR, of any maker."""
    from service.showing import show as shown

    typer.echo(shown(file, as_json=as_json))


@app.command()
def conformance() -> None:
    """The DICOM conformance statement of this version, as Markdown."""
    from service.conformance import statement

    typer.echo(statement(), nl=False)


@app.command()
def phantom(
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Where the studies go.")],
    patients: Annotated[int, typer.Option(min=1, help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first patient's seed.")] = 1,
    cohort: Annotated[
        bool, typer.Option("--cohort", help="Instead: tables of invented cohorts, with known effects and with none.")
    ] = False,
) -> None:
    """DICOM studies of digital patients, with truth.json; or the tables of an invented cohort."""
    from service.folders import write_cohort, write_phantoms
    from service.render import progress_bar

    if cohort:
        for folder in write_cohort(out, seed):
            typer.echo(str(folder))
        return

    with progress_bar() as tell:
        folders = write_phantoms(out, patients, seed, progress=tell)
    for folder in folders:
        typer.echo(str(folder))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Where everything goes.")] = Path("duet-demo"),
    network: Annotated[
        bool, typer.Option("--network", help="Lesions by the network that was trained on digital patients.")
    ] = False,
) -> None:
    """All of it on this machine in a few minutes: phantoms, a stand-in archive, the node, what came back."""
    from service.demo import run_demo
    from service.render import progress_bar

    with progress_bar() as tell:
        pictures = run_demo(out, progress=tell, network=network)
    typer.echo("The archive has received everything. Pictures to open:")
    for picture in pictures:
        typer.echo(f"  {picture}")
    typer.echo("Digital patients, research use only.")


@models.command("list")
def models_list(config: Config = None) -> None:
    """Networks that are installed, that come with duet, and that can be fetched: tracer, licence, verified or why not."""
    from service.anatomy_models import anatomy_overview
    from service.config import load
    from service.models import models_of, overview

    settings = load(config)
    for line in (*overview(models_of(settings)), *anatomy_overview(settings)):
        typer.echo(line)


@models.command("verify")
def models_verify(
    name: Annotated[str | None, typer.Argument(help="One network; without it all that are installed.")] = None,
    config: Config = None,
) -> None:
    """Hash each file, load each network as a case would, and run it on one small tile; exit status 1 on a fault."""
    from analysis.errors import ModelUnavailable
    from service.config import load
    from service.models import installed, models_of, verify

    settings = models_of(load(config))
    names = [each.name for each in installed(settings)] if name is None else [name]
    faults = 0
    for each in names:
        try:
            typer.echo(f"ok     {verify(settings, each)}")
        except ModelUnavailable as error:
            faults += 1
            typer.echo(f"FAULT  {error}")
    if not names:
        typer.echo(f"No network is installed in {settings.folder}.")
    if faults:
        raise typer.Exit(FAILED)


@models.command("add")
def models_add(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A trained model's folder, of nnU-Net.")],
    like: Annotated[
        str | None, typer.Option("--like", help="Which model of the catalogue it is; else duet-model.toml says.")
    ] = None,
    config: Config = None,
) -> None:
    """Copy a trained network into the models' folder and say which lines of duet.toml would let it be loaded."""
    from service.config import load
    from service.models import add, lines_to_allow, models_of

    added = add(models_of(load(config)), folder, like=like)
    typer.echo(f"{added.card.name} lies in {added.path}. It is not loaded before duet.toml holds these lines:")
    typer.echo(lines_to_allow(added))


@models.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="A name of the catalogue, see: duet models list.")],
    config: Config = None,
) -> None:
    """Download a published network, check it and unpack it; a download that was cut off goes on where it stopped."""
    from service.config import load
    from service.models import fetch, lines_to_allow, models_of
    from service.render import progress_bar

    with progress_bar() as tell:
        fetched = fetch(models_of(load(config)), name, tell)
    card = fetched.card
    typer.echo(f"{card.name} lies in {fetched.path}. Licence: {card.licence}. {card.training}\nTo be cited: {card.citation}")
    typer.echo("It is not loaded before duet.toml holds these lines:")
    typer.echo(lines_to_allow(fetched))


cli_keep.add_to(app)

if __name__ == "__main__":
    main()
