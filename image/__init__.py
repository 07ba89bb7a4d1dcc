"""Building the image and trying it out, on a machine without a Docker daemon."""
