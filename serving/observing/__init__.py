"""How finished answers reach the checks of quality and the detectors of drift, off the request path."""
