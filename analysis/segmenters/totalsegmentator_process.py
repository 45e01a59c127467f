"""Runs TotalSegmentator in a child process: offline, silent, with few threads, and never longer than it may.

Nothing of the operator's is written to. The child's home is a temporary folder with links to the weights and telemetry
switched off; so TotalSegmentator, which deletes folders of older weights that it finds, finds none.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.segmenters import totalsegmentator_child
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.segmenters.totalsegmentator_weights import Weights
from analysis.values import FloatArray, LabelArray, Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "SYSTEMROOT")


class TotalSegmentatorFailed(RuntimeError):  # noqa: N818  named as those of analysis.errors are
    """The child process ended badly; the message ends with what it said last. A fault of the system: the job is retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How the child is run."""

    weights: Weights
    models: ModelSettings
    settings: TotalSegmentatorSettings

    def label(self, images: Sequence[Volume]) -> tuple[Sequence[LabelArray], dict[int, str]]:
        """uint8 label maps on the images' grids, and the names of the labels. Raises TotalSegmentatorFailed."""
        with tempfile.TemporaryDirectory(prefix=totalsegmentator_child.HOME_PREFIX) as name:
            home = Path(name)
            self._make_home(home)
            request = self._write_request(home, images)
            run_child(request, self._environment(home), self.settings.timeout_s)
            names = json.loads((home / "names.json").read_text(encoding="utf-8"))
            labels = [np.load(home / f"labels{n}.npy", allow_pickle=False) for n in range(len(images))]
        for image, found in zip(images, labels, strict=True):
            if found.shape != image.grid.shape:
                raise TotalSegmentatorFailed(f"TotalSegmentator gave labels of {found.shape} for a CT of {image.grid.shape}.")
        return labels, {int(label): str(each) for label, each in names.items()}

    def _make_home(self, home: Path) -> None:
        results = home / "nnunet" / "results"
        results.mkdir(parents=True)
        for network in self.weights.networks:
            (results / network.dataset).symlink_to((self.weights.results / network.dataset).resolve(), target_is_directory=True)
        config = {"totalseg_id": "duet", "prediction_counter": 0, "send_usage_stats": False}
        config |= {"statistics_disclaimer_shown": True}
        (home / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def _write_request(self, home: Path, images: Sequence[Volume]) -> Path:
        listed = []
        for n, image in enumerate(images):
            ct, labels = home / f"ct{n}.npy", home / f"labels{n}.npy"
            np.save(ct, whole_hu(image.values))
            listed.append({"ct": str(ct), "affine": ras_affine(image.grid.affine).tolist(), "labels": str(labels)})
        request = {
            "images": listed,
            "names": str(home / "names.json"),
            "variant": self.settings.variant,
            "classes": None if self.weights.classes is None else list(self.weights.classes),
            "sha256": sorted(set(self.weights.sums.values())),
            "threads": thread_count(self.models),
            "device": self.models.device,
        }
        path = home / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        return path

    def _environment(self, home: Path) -> dict[str, str]:
        results, threads = str(home / "nnunet" / "results"), str(thread_count(self.models))
        limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
        return {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            **dict.fromkeys((*limits, "nnUNet_def_n_proc"), threads),
            **dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), results),
            "TOTALSEG_HOME_DIR": str(home),
            **dict.fromkeys(("HOME", "TMPDIR"), str(home)),
        }


def whole_hu(values: FloatArray) -> LabelArray:
    """HU as int16: TotalSegmentator itself keeps whole HU alone."""
    return np.clip(np.rint(values), -1024, 32767).astype(np.int16)


def ras_affine(affine: FloatArray) -> FloatArray:
    """4 x 4 from (k, j, i) to LPS mm -> from (i, j, k) to RAS mm, as NIfTI has it."""
    return np.asarray(LPS_TO_RAS @ affine[:, [2, 1, 0, 3]])


def thread_count(models: ModelSettings) -> int:
    """The threads that the child may use."""
    return models.threads or len(os.sched_getaffinity(0))


def run_child(request: Path, environment: Mapping[str, str], timeout_s: float) -> None:
    """Runs the child to its end; whatever happens here, neither it nor what it started outlives this call.

    Its standard input is a pipe that it watches: it also ends where this process is killed. Raises TotalSegmentatorFailed.
    """
    command = [sys.executable, "-P", totalsegmentator_child.__file__, str(request)]
    errors = request.with_name("stderr.txt")
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "env": dict(environment)}
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(command, stderr=stderr, cwd=request.parent, start_new_session=True, **options) as child,
    ):
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TotalSegmentatorFailed(
                f"TotalSegmentator was not done after {timeout_s:g} s ([totalsegmentator] timeout_s) and was ended."
            ) from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if code != 0:
        raise TotalSegmentatorFailed(f"TotalSegmentator ended with {ending(code)}: {last_line(errors)}")


def ending(code: int) -> str:
    return f"exit status {code}" if code > 0 else f"signal {signal.Signals(-code).name}"


def last_line(file: Path) -> str:
    """The last line that is not empty; it says what went wrong, as Python's tracebacks do."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
