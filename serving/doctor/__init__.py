"""``loraplex doctor``: small checks that return findings. Nothing here prints; :mod:`serving.cli.doctor` does."""
