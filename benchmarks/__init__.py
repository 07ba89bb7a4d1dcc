"""Programs that measure. Each prints one JSON document and compares side by side in one run."""
