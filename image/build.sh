#!/usr/bin/env bash
# Builds the image with what this machine has: Docker, Podman or Buildah. Usage: image/build.sh cpu|gpu [NAME]
set -euo pipefail
cd "$(dirname "$0")/.."

variant=$1
name=${2:-loraplex}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

if docker info >/dev/null 2>&1; then
    build=(docker build)
elif command -v podman >/dev/null; then
    build=(podman build)
elif command -v buildah >/dev/null; then
    build=(buildah build)
else
    echo "image: neither a running Docker nor Podman nor Buildah is here; install one (Debian: apt-get install podman)" >&2
    exit 1
fi

arguments=(--build-arg "VARIANT=$variant" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
[ -z "${PIP_FIND_LINKS:-}" ] || arguments+=(--build-arg "PIP_FIND_LINKS=$PIP_FIND_LINKS")
exec "${build[@]}" "${arguments[@]}" --tag "$name:$version-$variant" .
