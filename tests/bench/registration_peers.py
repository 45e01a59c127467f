"""The registrations that a researcher would pick instead, each with its makers' usual parameters, on two threads.

A method takes a case's two CTs and gives a function from fixed to moving points, LPS mm. Nothing here knows the truth.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import itk
import numpy as np
import SimpleITK as sitk
from picsl_greedy import Greedy3D

from analysis.grids import apply, to_image
from analysis.patient.registration import RegistrationSettings, align
from analysis.values import Body, FloatArray, Grid, PetCt, Tracer, Transform, Unit, Volume

Points = Callable[[FloatArray], FloatArray]
THREADS = 2
SHOWN_HU = (-200.0, 800.0)


def duet(fixed: Volume, moving: Volume) -> Points:
    return _duet(fixed, moving, RegistrationSettings())


def duet_rigid(fixed: Volume, moving: Volume) -> Points:
    return _duet(fixed, moving, RegistrationSettings(deformable=False))


def _duet(fixed: Volume, moving: Volume, settings: RegistrationSettings) -> Points:
    transform = align(_study(Tracer.FDG, moving), _study(Tracer.PENTIXAFOR, fixed), settings).transform
    return lambda points: apply(transform, points)


def _study(tracer: Tracer, ct: Volume) -> PetCt:
    pet = Volume(grid=Grid(shape=(2, 2, 2), affine=ct.grid.affine), values=np.zeros((2, 2, 2), np.float32), unit=Unit.SUV)
    return PetCt(tracer=tracer, pet=pet, ct=ct, body=Body(weight_kg=70.0))


def elastix(fixed: Volume, moving: Volume) -> Points:
    """itk-elastix with its default parameter maps "rigid" and "bspline"."""
    maps = itk.ParameterObject.New()
    for name in ("rigid", "bspline"):
        maps.AddParameterMap(maps.GetDefaultParameterMap(name))
    return _elastix(fixed, moving, maps)


def elastix_ct(fixed: Volume, moving: Volume) -> Points:
    """itk-elastix as its model zoo has it for CT of the trunk: more samples and iterations, 16 mm grid, bending penalty."""
    maps = itk.ParameterObject.New()
    maps.AddParameterMap(maps.GetDefaultParameterMap("rigid"))
    bspline = maps.GetDefaultParameterMap("bspline", 4, 16.0)
    bspline["Metric"] = ["AdvancedMattesMutualInformation", "TransformBendingEnergyPenalty"]
    bspline["Metric0Weight"], bspline["Metric1Weight"] = ["1.0"], ["50.0"]
    bspline["MaximumNumberOfIterations"], bspline["NumberOfSpatialSamples"] = ["500"], ["5000"]
    maps.AddParameterMap(bspline)
    return _elastix(fixed, moving, maps)


def _elastix(fixed: Volume, moving: Volume, maps: itk.ParameterObject) -> Points:
    images = [_itk_image(ct) for ct in (fixed, moving)]
    registration = itk.ElastixRegistrationMethod.New(images[0], images[1])
    registration.SetParameterObject(maps)
    registration.SetNumberOfThreads(THREADS)
    registration.SetLogToConsole(False)
    registration.UpdateLargestPossibleRegion()
    found = registration.GetTransformParameterObject()

    def there(points: FloatArray) -> FloatArray:
        field = itk.transformix_deformation_field(images[1], found)
        shift = itk.array_from_image(field)
        return _by_field(fixed.grid, shift, points)

    return there


def _itk_image(ct: Volume) -> itk.Image:
    image = itk.image_from_array(np.ascontiguousarray(ct.values, dtype=np.float32))
    axes = ct.grid.affine[:3, :3][:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetOrigin([float(x) for x in ct.grid.affine[:3, 3]])
    image.SetSpacing([float(x) for x in spacing])
    image.SetDirection(itk.matrix_from_array(axes / spacing))
    return image


def _by_field(grid: Grid, shift: FloatArray, points: FloatArray) -> FloatArray:
    """points + shift there; shift: (nk, nj, ni, 3) in mm on the fixed grid."""
    still = Transform(rigid=np.eye(4), grid=grid, displacement=np.ascontiguousarray(shift, dtype=np.float32))
    return apply(still, points)


def greedy(fixed: Volume, moving: Volume) -> Points:
    """picsl-greedy: moments, rigid, then its diffeomorphic registration, each with patch correlation (NCC 2x2x2, 4x4x4)."""
    tool = Greedy3D()
    images = {"fixed": _clamped(fixed), "moving": _clamped(moving), "rigid": None, "warp": None, "both": None}
    said = io.StringIO()
    common = f"-d 3 -threads {THREADS} -i fixed moving"
    tool.execute(f"{common} -a -dof 6 -moments 1 -m NCC 4x4x4 -n 100x50x10 -o rigid", out=said, err=said, **images)
    tool.execute(f"{common} -it rigid -m NCC 2x2x2 -n 100x50x10 -s 2vox 0.5vox -o warp", out=said, err=said, rigid=tool["rigid"])
    tool.execute(f"-d 3 -threads {THREADS} -rf fixed -r warp rigid -rc both", out=said, err=said)
    shift = sitk.GetArrayFromImage(tool["both"])
    return lambda points: _by_field(fixed.grid, shift, points)


def _clamped(ct: Volume) -> sitk.Image:
    return to_image(ct.grid, np.clip(ct.values, *SHOWN_HU).astype(np.float32))


def demons(fixed: Volume, moving: Volume) -> Points:
    """SimpleITK's multi-resolution demons (its notebook 66), after its rigid registration."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    images = [_clamped(ct) for ct in (fixed, moving)]
    rigid = _sitk_rigid(*images)
    resampled = sitk.Resample(images[1], images[0], rigid, sitk.sitkLinear, SHOWN_HU[0])
    registration = sitk.ImageRegistrationMethod()
    field = sitk.TransformToDisplacementField(
        sitk.Transform(3, sitk.sitkIdentity), sitk.sitkVectorFloat64, images[0].GetSize(), images[0].GetOrigin(),
        images[0].GetSpacing(), images[0].GetDirection(),
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


def bspline_mi(fixed: Volume, moving: Volume) -> Points:
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
    registration.SetMetricSamplingPercentage(0.05, 1)
    registration.SetShrinkFactorsPerLevel([4, 2, 1])
    registration.SetSmoothingSigmasPerLevel([8, 4, 0])
    registration.SetOptimizerAsLBFGS2(solutionAccuracy=1e-2, numberOfIterations=30, deltaConvergenceTolerance=0.01)
    registration.SetInterpolator(sitk.sitkLinear)
    found = registration.Execute(images[0], images[1])
    return _sitk_points(sitk.CompositeTransform([rigid, found]), fixed.grid)


def _sitk_rigid(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Moments, then Mattes mutual information at three resolutions with seeded samples."""
    kind = sitk.CenteredTransformInitializerFilter.MOMENTS
    start = sitk.CenteredTransformInitializer(
        fixed - SHOWN_HU[0], moving - SHOWN_HU[0], sitk.Euler3DTransform(), kind
    )
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


def _sitk_points(transform: sitk.Transform, grid: Grid) -> Points:
    like = to_image(grid, np.empty(grid.shape, np.uint8))
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, like.GetSize(), like.GetOrigin(), like.GetSpacing(), like.GetDirection()
    )
    shift = sitk.GetArrayFromImage(field)
    return lambda points: _by_field(grid, shift, points)
