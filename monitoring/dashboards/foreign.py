"""Series that are not ours: Prometheus' own, the engine's, those of exporters for the hardware.

They are written down like ours, so that a query of them is checked like one of ours. vLLM's names are those of the
pinned version.
"""

from monitoring.spec import MetricSpec

UP = MetricSpec(
    "up", "gauge", "replicas", "1 while the last scrape of a target succeeded, 0 while it failed.", ("part",)
)
"""``part``: set by who scrapes, for a target that is a part of the gateway and answers no requests for generations."""

_ENGINE = ("model_name", "engine")

ENGINE_RUNNING = MetricSpec(
    "vllm:num_requests_running", "gauge", "requests", "Requests in the engine's present batch.", _ENGINE
)
ENGINE_WAITING = MetricSpec(
    "vllm:num_requests_waiting", "gauge", "requests", "Requests that wait for a place in the engine's batch.", _ENGINE
)
ENGINE_KV_CACHE = MetricSpec("vllm:kv_cache_usage_perc", "gauge", "ratio", "Used share of the KV cache.", _ENGINE)
ENGINE_PREEMPTIONS = MetricSpec(
    "vllm:num_preemptions_total", "counter", "events", "Requests put back because the KV cache was full.", _ENGINE
)
ENGINE_PROMPT_TOKENS = MetricSpec(
    "vllm:prompt_tokens_total", "counter", "tokens", "Prompt tokens that were processed.", _ENGINE
)
ENGINE_GENERATION_TOKENS = MetricSpec(
    "vllm:generation_tokens_total", "counter", "tokens", "Tokens that were generated.", _ENGINE
)
ENGINE_PREFIX_QUERIES = MetricSpec(
    "vllm:prefix_cache_queries_total", "counter", "tokens", "Prompt tokens looked up in the prefix cache.", _ENGINE
)
ENGINE_PREFIX_HITS = MetricSpec(
    "vllm:prefix_cache_hits_total", "counter", "tokens", "Prompt tokens found in the prefix cache.", _ENGINE
)
ENGINE_QUEUE_TIME = MetricSpec(
    "vllm:request_queue_time_seconds", "histogram", "seconds", "Time that a request waited in the engine.", _ENGINE
)
ENGINE_PREFILL_TIME = MetricSpec(
    "vllm:request_prefill_time_seconds", "histogram", "seconds", "Time that the prompt of a request took.", _ENGINE
)
ENGINE_DECODE_TIME = MetricSpec(
    "vllm:request_decode_time_seconds", "histogram", "seconds", "Time that the answer to a request took.", _ENGINE
)

ENGINE: tuple[MetricSpec, ...] = (
    ENGINE_RUNNING,
    ENGINE_WAITING,
    ENGINE_KV_CACHE,
    ENGINE_PREEMPTIONS,
    ENGINE_PROMPT_TOKENS,
    ENGINE_GENERATION_TOKENS,
    ENGINE_PREFIX_QUERIES,
    ENGINE_PREFIX_HITS,
    ENGINE_QUEUE_TIME,
    ENGINE_PREFILL_TIME,
    ENGINE_DECODE_TIME,
)
"""What dashboards and alerts read of vLLM."""

NODE_CPU = MetricSpec(
    "node_cpu_seconds_total", "counter", "seconds", "Time of each core in each mode (node exporter).", ("cpu", "mode")
)
NODE_MEMORY_FREE = MetricSpec(
    "node_memory_MemAvailable_bytes", "gauge", "bytes", "Memory that could be taken at once (node exporter)."
)
NODE_MEMORY = MetricSpec("node_memory_MemTotal_bytes", "gauge", "bytes", "Memory of a machine (node exporter).")
NODE_DISK_FREE = MetricSpec(
    "node_filesystem_avail_bytes", "gauge", "bytes", "Free space (node exporter).", ("device", "fstype", "mountpoint")
)
GPU_BUSY = MetricSpec(
    "DCGM_FI_DEV_GPU_UTIL", "gauge", "percent", "Share of the time that a GPU works (DCGM exporter).", ("gpu",)
)
GPU_MEMORY_USED = MetricSpec(
    "DCGM_FI_DEV_FB_USED", "gauge", "mebibytes", "Used memory of a GPU (DCGM exporter).", ("gpu",)
)
GPU_TEMPERATURE = MetricSpec(
    "DCGM_FI_DEV_GPU_TEMP", "gauge", "celsius", "Temperature of a GPU (DCGM exporter).", ("gpu",)
)
GPU_POWER = MetricSpec("DCGM_FI_DEV_POWER_USAGE", "gauge", "watts", "Power that a GPU draws (DCGM exporter).", ("gpu",))

HARDWARE: tuple[MetricSpec, ...] = (
    NODE_CPU,
    NODE_MEMORY_FREE,
    NODE_MEMORY,
    NODE_DISK_FREE,
    GPU_BUSY,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_POWER,
)
"""What the dashboard of the hardware reads, where these exporters run."""
