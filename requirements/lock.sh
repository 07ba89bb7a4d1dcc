#!/usr/bin/env bash
# Resolves pyproject.toml for Linux on x86-64 and rewrites the two constraints files. What is pinned now stays where
# it still fits: delete a line first to let that package move, or empty the file to let everything move.
set -euo pipefail
cd "$(dirname "$0")/.."

torch=(--torch-backend cpu)
[ -z "${PIP_FIND_LINKS:-}" ] || { torch=(); for place in $PIP_FIND_LINKS; do torch+=(--find-links "$place"); done; }

resolve() {
    .venv/bin/uv pip compile pyproject.toml --python-version 3.11 --python-platform x86_64-manylinux_2_35 \
        --extra train --extra knowledge --extra demo --extra dev --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --quiet "$@" >/dev/null
}

resolve --extra cpu "${torch[@]}" --overrides requirements/cpu-overrides.txt -o requirements/constraints.txt
resolve --extra gpu -o requirements/constraints-gpu.txt
