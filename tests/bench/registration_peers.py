"""The registrations that a researcher would pick instead, each with its makers' usual parameters, on at most two threads.

A method takes a case's two CTs and gives the transform from fixed to moving points, LPS mm. Nothing here knows the truth.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from picsl_greedy import Greedy3D

from analysis.grids import to_image
from analysis.patient.registration import align
from analysis.values import Body, ErrorMap, FloatArray, Grid, PetCt, Tracer, Transform, Unit, Volume

THREADS = 2
LONGEST_S = 120
SHOWN_HU = (-200.0, 800.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """A transform and what it took; error, told_mm: what the method says of its own error, by place and over all."""

    there: Transform
    seconds: float
    cpu_seconds: float
    error: ErrorMap | None = None
    told_mm: float = float("nan")


def timed(method: Callable[[Volume, Volume], Transform], fixed: Volume, moving: Volume) -> Found:
    """A method that runs in this process."""
    began, spent = time.perf_counter(), time.process_time()
    there = method(fixed, moving)
    return Found(there=there, seconds=time.perf_counter() - began, cpu_seconds=time.process_time() - spent)


def duet(fixed: Volume, moving: Volume) -> tuple[Found, Found]:
    """What duet delivers, and its rigid part alone (whose time is not told apart)."""
    began, spent = time.perf_counter(), time.process_time()
    pair = align(_study(Tracer.FDG, moving), _study(Tracer.PENTIXAFOR, fixed))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - spent
    rigid = Transform(rigid=pair.transform.rigid)
    whole = Found(
        there=pair.transform,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        error=pair.error,
        told_mm=pair.quality.error_mm or float("nan"),
    )
    return whole, Found(there=rigid, seconds=float("nan"), cpu_seconds=float("nan"))


def _study(tracer: Tracer, ct: Volume) -> PetCt:
    pet = Volume(grid=Grid(shape=(2, 2, 2), affine=ct.grid.affine), values=np.zeros((2, 2, 2), np.float32), unit=Unit.SUV)
    return PetCt(tracer=tracer, pet=pet, ct=ct, body=Body(weight_kg=70.0))


def elastix(fixed: Volume, moving: Volume, samples: int = 2048, rounds: int = 256) -> Found:
    """itk-elastix in a process of its own, whose start is not counted; registration_elastix.py says with which parameters."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "case.npz", Path(folder) / "field.npz"
        affines = {"fixed_affine": fixed.grid.affine, "moving_affine": moving.grid.affine}
        np.savez(source, fixed=fixed.values, moving=moving.values, **affines)
        script = Path(__file__).with_name("registration_elastix.py")
        command = [sys.executable, script, source, target, str(samples), str(rounds)]
        subprocess.run(command, check=True, capture_output=True, timeout=LONGEST_S, cwd=folder)  # it leaves files there
        with np.load(target) as found:
            shift, (wall, cpu) = found["shift"], found["seconds"]
    return Found(there=_by_field(fixed.grid, shift), seconds=float(wall), cpu_seconds=float(cpu))


def careful_elastix(fixed: Volume, moving: Volume) -> Found:
    """elastix with twice the samples and twice the iterations."""
    return elastix(fixed, moving, samples=4096, rounds=500)


def _by_field(grid: Grid, shift: FloatArray) -> Transform:
    """points + shift there; shift: (nk, nj, ni, 3) in mm on the fixed grid."""
    return Transform(rigid=np.eye(4), grid=grid, displacement=np.ascontiguousarray(shift, dtype=np.float32))


def greedy(fixed: Volume, moving: Volume) -> Transform:
    """picsl-greedy: moments, rigid, then its diffeomorphic registration, each with patch correlation (NCC 2x2x2, 4x4x4)."""
    tool = Greedy3D()
    images = {"fixed": _clamped(fixed), "moving": _clamped(moving), "warp": None, "both": None}
    said = io.StringIO()
    common = f"-d 3 -threads {THREADS} -i fixed moving"
    with tempfile.TemporaryDirectory() as folder:
        rigid = Path(folder) / "rigid.mat"
        tool.execute(f"{common} -a -dof 6 -moments 1 -m NCC 4x4x4 -n 100x50x10 -o {rigid}", out=said, err=said, **images)
        tool.execute(f"{common} -it {rigid} -m NCC 2x2x2 -n 100x50x10 -s 2vox 0.5vox -o warp", out=said, err=said)
        tool.execute(f"-d 3 -threads {THREADS} -rf fixed -r warp {rigid} -rc both", out=said, err=said)
    return _by_field(fixed.grid, sitk.GetArrayFromImage(tool["both"]))


def _clamped(ct: Volume) -> sitk.Image:
    return to_image(ct.grid, np.clip(ct.values, *SHOWN_HU).astype(np.float32))


def demons(fixed: Volume, moving: Volume) -> Transform:
    """SimpleITK's multi-resolution demons (its notebook 66), after its rigid registration."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    images = [_clamped(ct) for ct in (fixed, moving)]
    rigid = _sitk_rigid(*images)
    resampled = sitk.Resample(images[1], images[0], rigid, sitk.sitkLinear, SHOWN_HU[0])
    registration = sitk.ImageRegistrationMethod()
    field = sitk.TransformToDisplacementField(
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkVectorFloat64,
        images[0].GetSize(),
        images[0].GetOrigin(),
        images[0].GetSpacing(),
        images[0].GetDirection(),
    )
    start = sitk.DisplacementFieldTransform(field)
    start.SetSmoothingGaussianOnUpdate(varianceForUpdateField=0.0, varianceForTotalField=2.0)
    registration.SetInitialTransform(start)
    registration.SetMetricAsDemons(10)
    registration.SetShrinkFactorsPerLevel([4, 2, 1])
    registration.SetSmoothingSigmasPerLevel([8, 4, 0])
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetOptimizerAsGradientDescent(
        learningRate=1.0, numberOfIterations=20, convergenceMinimumValue=1e-6, convergenceWindowSize=10
    )
    registration.SetOptimizerScalesFromPhysicalShift()
    return _sitk_points(sitk.CompositeTransform([rigid, registration.Execute(images[0], resampled)]), fixed.grid)


def bspline_mi(fixed: Volume, moving: Volume) -> Transform:
    """SimpleITK's B-spline example (ImageRegistrationMethodBSpline3) with Mattes mutual information, after its rigid one."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    images = [_clamped(ct) for ct in (fixed, moving)]
    rigid = _sitk_rigid(*images)
    size = [max(2, round(n * s / 50.0)) for n, s in zip(images[0].GetSize(), images[0].GetSpacing(), strict=True)]
    start = sitk.BSplineTransformInitializer(images[0], [max(1, n // 4) for n in size], order=3)
    registration = sitk.ImageRegistrationMethod()
    registration.SetMovingInitialTransform(rigid)
    registration.SetInitialTransformAsBSpline(start, inPlace=True, scaleFactors=[1, 2, 4])
    registration.SetMetricAsMattesMutualInformation(50)
    registration.SetMetricSamplingStrategy(registration.RANDOM)
    registration.SetMetricSamplingPercentage(0.1, 1)
    registration.SetShrinkFactorsPerLevel([4, 2, 1])
    registration.SetSmoothingSigmasPerLevel([8, 4, 0])
    registration.SetOptimizerAsLBFGS2(solutionAccuracy=1e-4, numberOfIterations=100, deltaConvergenceTolerance=1e-4)
    registration.SetInterpolator(sitk.sitkLinear)
    found = registration.Execute(images[0], images[1])
    return _sitk_points(sitk.CompositeTransform([rigid, found]), fixed.grid)


def _sitk_rigid(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Moments, then Mattes mutual information at three resolutions with seeded samples."""
    kind = sitk.CenteredTransformInitializerFilter.MOMENTS
    start = sitk.CenteredTransformInitializer(fixed - SHOWN_HU[0], moving - SHOWN_HU[0], sitk.Euler3DTransform(), kind)
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMattesMutualInformation(50)
    registration.SetMetricSamplingStrategy(registration.RANDOM)
    registration.SetMetricSamplingPercentage(0.05, 1)
    registration.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 200)
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetShrinkFactorsPerLevel([4, 2, 1])
    registration.SetSmoothingSigmasPerLevel([8, 4, 0])
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetInitialTransform(start, inPlace=False)
    return registration.Execute(fixed, moving)


def _sitk_points(transform: sitk.Transform, grid: Grid) -> Transform:
    like = to_image(grid, np.empty(grid.shape, np.uint8))
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, like.GetSize(), like.GetOrigin(), like.GetSpacing(), like.GetDirection()
    )
    shift = sitk.GetArrayFromImage(field)
    return _by_field(grid, shift)
