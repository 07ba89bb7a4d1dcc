# The gateway's image: one for every role, in two variants.
#
#   docker build --build-arg VARIANT=cpu -t loraplex:VERSION-cpu .      (or: make image)
#   docker build --build-arg VARIANT=gpu -t loraplex:VERSION-gpu .      (or: make image GPU=1)
#
# docs/images.md says what is in it, how it is run, and what was proven of it. `make image-check` builds and runs it.

# Debian's own Python is the interpreter, so that both variants have one base and Debian's security updates reach all
# of it. CUDA's libraries come with the Python packages, its driver from the machine: no CUDA base is needed.
ARG BASE=debian:bookworm-slim
ARG VARIANT=cpu

# --- what every later stage has: the interpreter, and the libraries that the packages link against -----------------
FROM ${BASE} AS base
# Versions are Debian's: a rebuild shall bring its security updates, which pinned versions would refuse.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libnuma1 python3 tini wget \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log

# --- tools for building; no later stage starts from here -----------------------------------------------------------
FROM base AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements/ requirements/
# Set by those who build behind a proxy of their own (a file in the build), or with their own folder or page of wheels.
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_FIND_LINKS
RUN python3 -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        "$(grep -o '^uv==[0-9.]*' requirements/constraints.txt)"
# Bytecode is compiled here, once: the last stage's file system is read-only.
ENV UV_CACHE_DIR=/var/cache/uv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1

# --- the pinned packages: gigabytes that change only with pyproject.toml and requirements/ -------------------------
FROM tools AS dependencies
ARG VARIANT
ARG SSL_CERT_FILE
ARG PIP_FIND_LINKS
COPY pyproject.toml ./
COPY image/cpu-overrides.txt image/
RUN /opt/tools/bin/uv venv --quiet --python /usr/bin/python3 /opt/loraplex
RUN --mount=type=cache,target=/var/cache/uv \
    set -eu; \
    case "$VARIANT" in \
        cpu) set -- --constraints requirements/constraints.txt \
                --overrides requirements/cpu-overrides.txt --overrides image/cpu-overrides.txt; \
            if [ -n "${PIP_FIND_LINKS:-}" ]; then set -- "$@" --find-links "$PIP_FIND_LINKS"; \
            else set -- "$@" --torch-backend cpu; fi ;; \
        gpu) set -- --constraints requirements/constraints-gpu.txt ;; \
        *) echo "VARIANT is cpu or gpu, not '$VARIANT'" >&2; exit 2 ;; \
    esac; \
    unset PIP_FIND_LINKS; \
    /opt/tools/bin/uv pip install --python /opt/loraplex/bin/python "$@" --requirements pyproject.toml \
        --extra "$VARIANT" --extra train --extra knowledge --extra postgres --extra s3 --extra report; \
    if [ "$VARIANT" = cpu ]; then rm /opt/loraplex/bin/ninja; fi; \
    rm -f /opt/loraplex/.lock

# --- the gateway itself: some megabytes, a layer of its own --------------------------------------------------------
FROM dependencies AS program
ARG SSL_CERT_FILE
COPY README.md LICENSE ./
COPY adapters/ adapters/
COPY monitoring/ monitoring/
COPY retrieval/ retrieval/
COPY serving/ serving/
COPY training/ training/
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/tools/bin/uv build --quiet --wheel --build-constraints requirements/constraints.txt --out-dir /wheel \
    && /opt/tools/bin/uv pip install --python /opt/loraplex/bin/python --no-deps --prefix /program /wheel/*.whl \
    && rm -f /program/.lock

# --- what the variants differ in -----------------------------------------------------------------------------------
FROM base AS runtime-cpu
# vLLM on a processor would compile two small kernels with g++ at their first use; it runs them uncompiled instead.
# Compiled ones cannot be shipped: what is compiled depends on the processor that it runs on.
ENV TORCH_COMPILE_DISABLE=1 TORCHDYNAMO_DISABLE=1

FROM base AS runtime-gpu
# Triton compiles its link to the CUDA driver with a C compiler when it first runs, and what PyTorch compiles for the
# processor beside it is C++: the one place where build tools stay.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# --- the image -----------------------------------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM runtime-${VARIANT}
ARG VARIANT
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Loraplex" \
      org.opencontainers.image.description="OpenAI-compatible inference gateway: one base model, many LoRA adapters" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}-${VARIANT}" \
      org.opencontainers.image.revision="${REVISION}"

# Nobody in here may become root. The links are for login shells, which set PATH anew, as KubeRay's commands do.
RUN groupadd --gid 10001 loraplex \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/loraplex --no-create-home --shell /usr/sbin/nologin loraplex \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && mkdir -p /etc/loraplex /models /var/lib/loraplex \
    && chown 10001:10001 /models /var/lib/loraplex \
    && for program in loraplex python ray serve; do ln -s "/opt/loraplex/bin/$program" "/usr/local/bin/$program"; done
COPY --from=dependencies /opt/loraplex /opt/loraplex
COPY --from=program /program /opt/loraplex

ENV PATH=/opt/loraplex/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/loraplex \
    HF_HOME=/var/lib/loraplex/hf \
    XDG_CACHE_HOME=/var/lib/loraplex/cache \
    XDG_CONFIG_HOME=/var/lib/loraplex/cache/config \
    VLLM_CACHE_ROOT=/var/lib/loraplex/cache/vllm \
    LORAPLEX_CONFIG=/etc/loraplex/config.yaml \
    LORAPLEX_LOG_TO_STDERR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/loraplex
VOLUME ["/var/lib/loraplex", "/models"]
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# tini reaps what the engine's and Ray's processes leave behind; as process 1 the gateway would have to.
ENTRYPOINT ["tini", "--", "loraplex"]
CMD ["--help"]
