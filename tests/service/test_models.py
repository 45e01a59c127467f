"""Networks as an operator meets them: listed, verified, added and fetched, and never allowed by duet itself."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from nets import Net, noise_study, swap_byte, write_net

from analysis.errors import ModelUnavailable
from analysis.segmenters import catalogue as book
from analysis.segmenters.catalogue import Entry, catalogue
from analysis.segmenters.model_card import SIDECAR
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.nnunet import load_network
from analysis.values import Tracer
from service import models
from service.config import load
from service.download import Patience
from service.models import Source, add, fetch, installed, lines_to_allow, models_of, overview, verify

NAME = "suv-above-4"


def bare(settings: ModelSettings, folder: Path) -> ModelSettings:
    """Settings of an empty models' folder and an empty list."""
    return replace(settings, folder=folder, allow=())


def listed(settings: ModelSettings, text: str) -> ModelSettings:
    """The settings with what the operator was told to put into duet.toml."""
    return replace(settings, allow=tuple(tomllib.loads(text)["models"]["allow"]))


def test_models_lie_below_the_nodes_data_unless_said_otherwise(tmp_path: Path) -> None:
    config = tmp_path / "duet.toml"
    config.write_text('[node]\ndata = "here"\n')
    assert models_of(load(config)).folder == Path("here/models")
    config.write_text('[node]\ndata = "here"\n[models]\nfolder = "there"\nthreads = 2\n')
    assert models_of(load(config)) == ModelSettings(folder=Path("there"), threads=2)


def test_a_model_is_added_verified_and_used_only_after_the_operator_has_listed_it(tmp_path: Path) -> None:
    source = write_net(tmp_path / "source")
    here = bare(source, tmp_path / "models")
    added = add(here, tmp_path / "source" / NAME)
    text = lines_to_allow(added)
    assert set(re.findall(r"[0-9a-f]{64}", text)) == set(source.allow)  # the same files, the same sidecar
    with pytest.raises(ModelUnavailable, match="is not allowed to be loaded"):
        verify(here, NAME)
    there = listed(here, text)
    assert re.fullmatch(
        rf"{NAME}: 4 files are those of its sidecar and on the list; "
        r"it loads on cpu and answers a tile of 4 x 4 x 4 voxels in \d+\.\d\d s\.",
        verify(there, NAME),
    )
    case = noise_study(1)
    assert ((load_network(there, NAME, Tracer.FDG).lesion_probability(case) > 0.5) == (case.pet.values > 4.0)).all()
    with pytest.raises(ModelUnavailable, match="is there already"):
        add(here, tmp_path / "source" / NAME)


def test_what_a_sidecar_leaves_out_is_taken_from_the_models_own_files(tmp_path: Path) -> None:
    source = write_net(tmp_path / "source", Net(limits=(4.0, 5.0)))
    sidecar = tmp_path / "source" / NAME / SIDECAR
    whole = sidecar.read_text()
    kept = [line for line in whole.split("\n[files]")[0].splitlines() if not line.startswith(("spacing_mm", "folds"))]
    sidecar.write_text("\n".join(kept))
    added = add(bare(source, tmp_path / "models"), tmp_path / "source" / NAME)
    assert (tmp_path / "models" / NAME / SIDECAR).read_text() == whole
    assert (added.card.spacing_mm, added.card.folds) == ((4.0, 4.0, 4.0), ("0", "1"))


def test_what_channels_are_is_never_guessed(tmp_path: Path) -> None:
    source = write_net(tmp_path / "source")
    (tmp_path / "source" / NAME / SIDECAR).unlink()
    with pytest.raises(ModelUnavailable, match=r"has no duet-model\.toml, so it is not known what its channels are"):
        add(bare(source, tmp_path / "models"), tmp_path / "source" / NAME)
    assert not (tmp_path / "models").exists()


def test_a_folder_that_lacks_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    source = write_net(tmp_path / "source")
    (tmp_path / "source" / NAME / "dataset.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"dataset\.json cannot be read"):
        add(bare(source, tmp_path / "models"), tmp_path / "source" / NAME)
    assert list((tmp_path / "models").iterdir()) == []


def test_the_list_says_why_a_model_cannot_be_loaded(tmp_path: Path) -> None:
    settings = write_net(tmp_path)
    assert [(each.name, each.fault) for each in installed(settings, thorough=True)] == [(NAME, "")]
    text = "\n".join(overview(settings))
    assert f"{NAME} 1 (duet tests); for FDG and PentixaFor; licence MIT\n    verified, and on the list" in text
    assert "it has learnt nothing" in text
    for each in catalogue():
        assert each.name in text
        assert str(each.card["licence"]) in text
    assert text.count("Not trained on myeloma or PentixaFor") == 2
    swap_byte(tmp_path / NAME / "plans.json")
    assert "plans.json is not the file that its duet-model.toml names" in "\n".join(overview(settings))
    (tmp_path / NAME / SIDECAR).write_text("name = 3")
    assert "its duet-model.toml is wrong" in "\n".join(overview(settings))


def zipped(folder: Path) -> bytes:
    """A model's folder as nnU-Net exports it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != SIDECAR:
                archive.write(path, f"Dataset999_HandSet/nnUNetTrainer__nnUNetPlans__3d_fullres/{path.relative_to(folder)}")
    return buffer.getvalue()


@pytest.fixture
def zenodo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A local server that answers as Zenodo's API does, and a catalogue with one entry that lies there."""
    write_net(tmp_path / "source")
    content = zipped(tmp_path / "source" / NAME)

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            where = f"http://127.0.0.1:{self.server.server_port}/files/model.zip/content"  # type: ignore[attr-defined]
            md5 = hashlib.md5(content).hexdigest()  # noqa: S324
            file = {"key": "model.zip", "size": len(content), "checksum": f"md5:{md5}", "links": {"self": where}}
            body = content if self.path.endswith("/content") else json.dumps({"files": [file]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    card = {**catalogue()[0].card, "lesion_labels": ["lesion"], "configuration": "3d_fullres", "orientation": "LPS"}
    known = Entry(name="published", title="", record="1", file="model.zip", unconfirmed=(), card=card)
    monkeypatch.setattr(book, "catalogue", lambda: (known,))
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Source(api=f"http://127.0.0.1:{server.server_port}/records/", patience=Patience(tries=1, pause_s=0.0))
        server.shutdown()
        thread.join()


def test_a_published_model_is_fetched_and_runs_after_it_was_listed(tmp_path: Path, zenodo: Source) -> None:
    here = ModelSettings(folder=tmp_path / "models", device="cpu")
    fetched = fetch(here, "published", lambda *_: None, zenodo)
    assert fetched.card.spacing_mm == (4.0, 4.0, 4.0)
    assert list((here.folder / ".fetched").iterdir()) == []
    with pytest.raises(ModelUnavailable, match="is not allowed to be loaded"):
        load_network(here, "published", Tracer.FDG)
    there = listed(here, lines_to_allow(fetched))
    case = noise_study(2)
    assert ((load_network(there, "published", Tracer.FDG).lesion_probability(case) > 0.5) == (case.pet.values > 4.0)).all()
    with pytest.raises(ModelUnavailable, match="is for FDG, not for PentixaFor"):
        load_network(there, "published", Tracer.PENTIXAFOR)
    with pytest.raises(ModelUnavailable, match="is there already"):
        fetch(here, "published", lambda *_: None, zenodo)


def test_what_is_not_in_the_catalogue_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="nothing is not in the catalogue; it has autopet-ii-resenc-bs80, lesiontracer"):
        fetch(ModelSettings(folder=tmp_path), "nothing", lambda *_: None)


def test_the_commands_answer_without_torch(tmp_path: Path) -> None:
    """`duet models list` as a person types it; the heavy packages are not loaded for it."""
    write_net(tmp_path / "models")
    config = tmp_path / "duet.toml"
    config.write_text(f'[node]\ndata = "{tmp_path}"\n')
    code = "import sys; from service.cli import app; app(sys.argv[1:], standalone_mode=False); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "models", "list", "--config", str(config)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert f"Installed in {tmp_path}/models:" in ran.stdout
    assert "is not in [models] allow of duet.toml" in ran.stdout
    assert ran.stdout.endswith("False\n")


def test_the_source_of_everything_is_zenodo() -> None:
    assert models.ZENODO_SOURCE.api == "https://zenodo.org/api/records/"
    assert [each.record for each in catalogue()] == ["8362371", "14007247"]
