"""One dual-tracer pair: align, anatomy, lesions, match, measure, check. Only `pipeline` names the steps."""
