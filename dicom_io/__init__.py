"""What it means in DICOM: headers, tracers, pairs, SUV, and the objects that are written."""
