"""Engine and hardware: is there room, and what is it spent on."""

from monitoring.catalogue import BUILD_INFO
from monitoring.dashboards.boards.scopes import ALL, EVERY_JOB, JOB, quantiles
from monitoring.dashboards.foreign import (
    ENGINE_DECODE_TIME,
    ENGINE_GENERATION_TOKENS,
    ENGINE_KV_CACHE,
    ENGINE_PREEMPTIONS,
    ENGINE_PREFILL_TIME,
    ENGINE_PREFIX_HITS,
    ENGINE_PREFIX_QUERIES,
    ENGINE_PROMPT_TOKENS,
    ENGINE_QUEUE_TIME,
    ENGINE_RUNNING,
    ENGINE_WAITING,
    GPU_BUSY,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_TEMPERATURE,
    NODE_CPU,
    NODE_DISK_FREE,
    NODE_MEMORY,
    NODE_MEMORY_FREE,
    UP,
)
from monitoring.dashboards.grafana import Dashboard, Panel, Row, Step, Target
from monitoring.dashboards.promql import Match, equals

_REAL_DISKS = Match("!~", "tmpfs|overlay|squashfs")

_INSTANCES = Row(
    "Replicas",
    (
        Panel(
            "Targets",
            "1 while the last scrape of a target succeeded.",
            (Target(ALL.series(UP), "{{instance}}"),),
            "none",
            "bargauge",
            (Step(1, "green"),),
            below="red",
            width=12,
            height=5,
            high=1,
        ),
        Panel(
            "Versions",
            "Replicas by release, engine and base model. More than one line outside of an upgrade is a mistake.",
            (Target(ALL.now(BUILD_INFO, "version", "vllm", "base_model", how="count"), "{{version}} {{vllm}}"),),
            "none",
            "bargauge",
            width=12,
            height=5,
        ),
    ),
)

_ENGINE = Row(
    "Engine",
    (
        Panel(
            "Running",
            "Requests in the engine's present batch, by replica.",
            (Target(ALL.now(ENGINE_RUNNING, "replica"), "{{replica}}"),),
            "none",
            stacked=True,
        ),
        Panel(
            "Waiting",
            "Requests that wait for a place in the batch. A number that grows raises LoraplexQueueGrowing.",
            (Target(ALL.now(ENGINE_WAITING, "replica"), "{{replica}}"),),
            "none",
            thresholds=(Step(8, "red"),),
        ),
        Panel(
            "KV cache",
            "Used share. Near 1, requests wait or are put back.",
            (Target(ALL.now(ENGINE_KV_CACHE, "replica", how="max"), "{{replica}}"),),
            "percentunit",
            thresholds=(Step(0.95, "red"),),
            high=1,
        ),
        Panel(
            "Time in the engine's queue",
            "Before a request came into a batch.",
            quantiles(ALL, ENGINE_QUEUE_TIME, "replica", legend="{{replica}}"),
            "s",
        ),
        Panel(
            "Prefill",
            "Time that the prompt of a request took.",
            quantiles(ALL, ENGINE_PREFILL_TIME, "replica", legend="{{replica}}"),
            "s",
        ),
        Panel(
            "Decode",
            "Time that the answer to a request took.",
            quantiles(ALL, ENGINE_DECODE_TIME, "replica", legend="{{replica}}"),
            "s",
        ),
        Panel(
            "Tokens",
            "Per second, as the engine counts them.",
            (
                Target(ALL.rate(ENGINE_PROMPT_TOKENS, "replica"), "{{replica}} prompt"),
                Target(ALL.rate(ENGINE_GENERATION_TOKENS, "replica"), "{{replica}} generated"),
            ),
            "cps",
        ),
        Panel(
            "Prefix cache hits",
            "Share of the prompt tokens that were found in the prefix cache. A version has a cache of its own.",
            (
                Target(
                    ALL.rate(ENGINE_PREFIX_HITS, "replica").over(ALL.rate(ENGINE_PREFIX_QUERIES, "replica")),
                    "{{replica}}",
                ),
            ),
            "percentunit",
            high=1,
        ),
        Panel(
            "Preemptions",
            "Requests that were put back because the KV cache was full, per second. Each of them is computed again.",
            (Target(ALL.rate(ENGINE_PREEMPTIONS, "replica"), "{{replica}}"),),
            "cps",
            thresholds=(Step(0.1, "yellow"),),
        ),
    ),
)

_HARDWARE = Row(
    "Hardware (where Prometheus scrapes node exporter and DCGM exporter)",
    (
        Panel(
            "Processors",
            "Share of the time that the cores of a machine work.",
            (
                Target(
                    EVERY_JOB.rate(NODE_CPU, "instance", mode=equals("idle"))
                    .over(EVERY_JOB.rate(NODE_CPU, "instance"))
                    .times(-1)
                    .plus(1),
                    "{{instance}}",
                ),
            ),
            "percentunit",
            high=1,
        ),
        Panel(
            "Memory",
            "Used share.",
            (
                Target(
                    EVERY_JOB.now(NODE_MEMORY_FREE, "instance")
                    .over(EVERY_JOB.now(NODE_MEMORY, "instance"))
                    .times(-1)
                    .plus(1),
                    "{{instance}}",
                ),
            ),
            "percentunit",
            thresholds=(Step(0.95, "red"),),
            high=1,
        ),
        Panel(
            "Free disk",
            "Adapters, artifacts and indexes need it.",
            (
                Target(
                    EVERY_JOB.now(NODE_DISK_FREE, "instance", "mountpoint", how="min", fstype=_REAL_DISKS),
                    "{{instance}} {{mountpoint}}",
                ),
            ),
            "bytes",
        ),
        Panel(
            "GPUs",
            "Share of the time that they work.",
            (Target(EVERY_JOB.now(GPU_BUSY, "instance", "gpu", how="avg"), "{{instance}} {{gpu}}"),),
            "percent",
            high=100,
        ),
        Panel(
            "GPU memory",
            "Used. vLLM takes most of it at its start, and keeps it.",
            (Target(EVERY_JOB.now(GPU_MEMORY_USED, "instance", "gpu"), "{{instance}} {{gpu}}"),),
            "mbytes",
        ),
        Panel(
            "GPU temperature",
            "Above its limit a GPU slows down.",
            (Target(EVERY_JOB.now(GPU_TEMPERATURE, "instance", "gpu", how="max"), "{{instance}} {{gpu}}"),),
            "celsius",
        ),
        Panel(
            "GPU power",
            "What they draw.",
            (Target(EVERY_JOB.now(GPU_POWER, "instance", "gpu"), "{{instance}} {{gpu}}"),),
            "watt",
        ),
    ),
)

ENGINE_AND_HARDWARE = Dashboard(
    "loraplex-engine",
    "Loraplex: engine and hardware",
    "Where the engine's time and memory go, and what the machines still have.",
    (JOB,),
    (_INSTANCES, _ENGINE, _HARDWARE),
)
