"""Why it matters: voxels and statistics. No DICOM library is imported below this package."""
