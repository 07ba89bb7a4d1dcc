"""From a model's shape, its adapters and its traffic to memory, GPUs and replicas. Every number keeps its formula."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, floor

from serving.sizing.errors import CannotSize
from serving.sizing.gpus import Gpu
from serving.sizing.shape import DTYPE_BYTES, FLOATS, ModelShape

GIB = 1024**3
BLOCK_TOKENS = 16
"""Tokens of one block of vLLM's KV cache."""
CONTEXT_BYTES = 1.5 * GIB
"""Assumed for CUDA's context, its libraries' workspaces and captured graphs, on each GPU."""
BANDWIDTH_SHARE = 0.6
"""Assumed share of the data sheet's bandwidth that decoding reaches."""
COMPUTE_SHARE = 0.4
"""Assumed share of the data sheet's throughput that prefill reaches."""
LOAD_SHARE = 0.7
"""Share of what a replica can do that is planned for; the rest is for bursts, and for a replica that is away."""
_SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters of one replica."""

    slots: int = 4
    """In one batch: ``adapters.slots``."""
    cpu_slots: int = 8
    """In memory: ``adapters.cpu_slots``."""
    max_rank: int = 16
    """``adapters.max_rank``: vLLM reserves every slot for it."""
    rank: int = 16
    """Of a typical version."""
    targets: tuple[str, ...] = ()
    """Modules that a typical version changes; empty: all linear ones."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What callers send."""

    requests_s: float = 1.0
    prompt_tokens: int = 1000
    completion_tokens: int = 250
    concurrent: int | None = None
    """Requests in progress at once, for which there must be room in the cache; None: the rate alone decides."""
    tokens_per_second: float | None = None
    """Generated tokens a second of one replica under load, as it was measured; None: it is estimated."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How the engine is set up."""

    gpu: Gpu
    gpus: int | None = None
    """GPUs of one replica; None: as few as fit."""
    dtype: str | None = None
    kv_dtype: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int = 256
    max_batched_tokens: int = 8192
    memory_share: float = 0.9
    """vLLM's ``gpu_memory_utilization``."""


@dataclass(frozen=True, slots=True)
class Step:
    """One number, and how it came about."""

    name: str
    value: float
    unit: str
    """``bytes``, ``tokens``, ``seconds``, or what is counted."""
    formula: str
    """With the numbers put in."""


@dataclass(slots=True)
class Plan:
    """The result."""

    gpus: int
    """Of one replica."""
    replicas: int
    max_model_len: int
    steps: list[Step]
    notes: list[str] = field(default_factory=list)

    def value(self, name: str) -> float:
        """A step's value."""
        return next(step.value for step in self.steps if step.name == name)


def kv_bytes_per_token(shape: ModelShape, engine: Engine) -> int:
    """Over all layers; those with a window count as the others, up to their window."""
    attention, item = shape.attention, _cached_bytes(shape, engine)
    layers = attention.layers + attention.windowed
    if attention.latent:
        return round(layers * attention.latent * item)
    return round(2 * layers * attention.heads * attention.head_dim * item)


def _computed_bytes(shape: ModelShape, engine: Engine) -> float:
    """Bytes of a number that is computed with."""
    return DTYPE_BYTES[engine.dtype if engine.dtype in FLOATS else shape.computes_in]


def _cached_bytes(shape: ModelShape, engine: Engine) -> float:
    """Bytes of a number in the cache."""
    return DTYPE_BYTES[engine.kv_dtype] if engine.kv_dtype else _computed_bytes(shape, engine)


def make_plan(shape: ModelShape, engine: Engine, adapters: Adapters | None, traffic: Traffic) -> Plan:
    """The smallest replica that fits, and how many of them the traffic needs.

    Raises CannotSize: nothing fits.
    """
    max_len = engine.max_model_len or shape.max_positions or 4096
    wanted = traffic.prompt_tokens + traffic.completion_tokens
    if wanted > max_len:
        raise CannotSize(f"prompt and completion have {wanted} tokens together, and the model takes {max_len} at most")
    sizes = (engine.gpus,) if engine.gpus else _SIZES
    last = ""
    for gpus in sizes:
        memory = _memory(shape, engine, adapters, gpus)
        room = memory[-1].value
        if room * gpus < _sequence_bytes(shape, engine, max_len):
            last = f"{gpus} x {engine.gpu.name} leave {max(0.0, room * gpus) / GIB:.1f} GiB for the KV cache"
            continue
        plan = Plan(gpus, 1, max_len, memory)
        _plan_traffic(plan, shape, engine, traffic)
        _remark(plan, shape, engine)
        return plan
    need = _sequence_bytes(shape, engine, max_len) / GIB
    raise CannotSize(
        f"{last}, and one request of {max_len} tokens takes {need:.1f} GiB; take more or larger GPUs, or a smaller "
        "max_model_len"
    )


def _memory(shape: ModelShape, engine: Engine, adapters: Adapters | None, gpus: int) -> list[Step]:
    """What each GPU of a replica holds, and what is left of it for the KV cache."""
    weights = shape.weights_bytes(engine.dtype)
    item = _computed_bytes(shape, engine)
    budget = engine.gpu.memory_mib * 1024**2 * engine.memory_share
    steps = [
        Step("weights", weights / gpus, "bytes", f"{weights / GIB:.2f} GiB of the checkpoint / {gpus} GPUs"),
        _activations(shape, engine, item, gpus),
        Step("context", CONTEXT_BYTES, "bytes", "assumed for CUDA, its libraries and captured graphs"),
    ]
    if adapters is not None:
        steps += _adapter_memory(shape, adapters, item, gpus)
    used = sum(step.value for step in steps if step.name != "adapters on the CPU")
    share = f"{engine.gpu.memory_mib} MiB x {engine.memory_share:g}"
    return [*steps, Step("KV cache", budget - used, "bytes", f"{share} - weights - activations - context - slots")]


def _activations(shape: ModelShape, engine: Engine, item: float, gpus: int) -> Step:
    """A forward pass over a full batch: residual, attention and MLP of one layer, and the logits in 32 bits."""
    tokens, sequences = engine.max_batched_tokens, engine.max_num_seqs
    layer = tokens * (4 * shape.hidden + 3 * shape.intermediate / gpus) * item
    logits = sequences * shape.vocabulary * 4
    formula = (
        f"{tokens} tokens x (4 x {shape.hidden} + 3 x {shape.intermediate} / {gpus}) x {item:g} bytes + {sequences} "
        f"sequences x {shape.vocabulary} x 4 bytes"
    )
    return Step("activations", layer + logits, "bytes", formula)


def _adapter_memory(shape: ModelShape, adapters: Adapters, item: float, gpus: int) -> list[Step]:
    if not shape.linear:
        raise CannotSize("the shapes of the model's linear layers are not known; pass --slots 0 to leave adapters out")
    every = sum(module.inputs + module.outputs for module in shape.linear)
    chosen = [module for module in shape.linear if not adapters.targets or module.name in adapters.targets]
    if not chosen:
        there = ", ".join(sorted({module.name for module in shape.linear}))
        raise CannotSize(f"the model has no module {' or '.join(adapters.targets)}; it has {there}")
    # vLLM keeps pairs for the embedding and for the output head too, and splits over GPUs what is inside the layers.
    ends = 2 * (shape.vocabulary + shape.hidden)
    slot = adapters.max_rank * (every / gpus + ends) * item
    version = adapters.rank * sum(module.inputs + module.outputs for module in chosen) * item
    return [
        Step(
            "adapter slots",
            adapters.slots * slot,
            "bytes",
            f"{adapters.slots} slots x rank {adapters.max_rank} x ({every} inputs and outputs / {gpus} + {ends} of "
            f"embedding and head) x {item:g} bytes",
        ),
        Step(
            "adapters on the CPU",
            adapters.cpu_slots * version,
            "bytes",
            f"{adapters.cpu_slots} versions x {version / 1024**2:.1f} MiB (rank {adapters.rank}), in the replica's RAM",
        ),
    ]


def _sequence_bytes(shape: ModelShape, engine: Engine, tokens: int) -> float:
    """KV cache of one request of ``tokens``, over all GPUs of a replica."""
    attention = shape.attention
    layers = attention.layers + attention.windowed
    a_layer = kv_bytes_per_token(shape, engine) / layers
    whole = ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
    # A window is given back in blocks too, and one more is being written.
    windowed = min(whole, attention.window + BLOCK_TOKENS) if attention.windowed else 0
    return a_layer * (attention.layers * whole + attention.windowed * windowed)


def _plan_traffic(plan: Plan, shape: ModelShape, engine: Engine, traffic: Traffic) -> None:
    per_token = kv_bytes_per_token(shape, engine)
    tokens = traffic.prompt_tokens + traffic.completion_tokens
    sequence = _sequence_bytes(shape, engine, tokens)
    copies = _kv_copies(shape, plan.gpus)
    fits = floor(plan.value("KV cache") * plan.gpus / copies / sequence)
    batch = max(1, min(engine.max_num_seqs, fits))
    add: Callable[[Step], None] = plan.steps.append
    add(Step("KV bytes per token", per_token, "bytes", _kv_formula(shape, engine)))
    add(Step("KV bytes per request", sequence, "bytes", f"{tokens} tokens in whole blocks of {BLOCK_TOKENS}"))
    add(
        Step(
            "requests at once",
            batch,
            "requests",
            f"min(max_num_seqs {engine.max_num_seqs}, {plan.value('KV cache') * plan.gpus / GIB:.1f} GiB / {copies:g} "
            f"/ {sequence / GIB:.4f} GiB)",
        )
    )
    capacity = _capacity(plan, shape, engine, traffic, batch)
    needs = [ceil(traffic.requests_s / (capacity * LOAD_SHARE))]
    formula = f"{traffic.requests_s:g} requests/s / ({capacity:.2f} x {LOAD_SHARE})"
    if traffic.concurrent is not None:
        needs.append(ceil(traffic.concurrent / batch))
        formula = f"max({formula}, {traffic.concurrent} at once / {batch})"
    plan.replicas = max(1, *needs)
    add(Step("replicas", plan.replicas, "replicas", formula))


def _kv_copies(shape: ModelShape, gpus: int) -> float:
    """How often the cache is held over a replica's GPUs: what cannot be split by heads is on every GPU."""
    if shape.attention.latent:
        return gpus
    return max(1.0, gpus / shape.attention.heads)


def _kv_formula(shape: ModelShape, engine: Engine) -> str:
    attention = shape.attention
    item = _cached_bytes(shape, engine)
    layers = attention.layers + attention.windowed
    if attention.latent:
        return f"{layers} layers x {attention.latent} latent numbers x {item:g} bytes"
    return f"2 x {layers} layers x {attention.heads} heads x {attention.head_dim} x {item:g} bytes"


def _capacity(plan: Plan, shape: ModelShape, engine: Engine, traffic: Traffic, batch: int) -> float:
    """Requests a second of one replica."""
    if traffic.tokens_per_second is not None:
        measured = traffic.tokens_per_second
        plan.steps.append(Step("tokens per second", measured, "tokens", "measured, as you said"))
        return measured / traffic.completion_tokens
    bandwidth = engine.gpu.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE * plan.gpus
    compute = engine.gpu.tflops * 1e12 * COMPUTE_SHARE * plan.gpus
    context = traffic.prompt_tokens + traffic.completion_tokens / 2
    weights = shape.weights_bytes(engine.dtype)
    read = weights + batch * context * kv_bytes_per_token(shape, engine)
    by_memory, by_compute = read / bandwidth, 2 * shape.active_parameters * batch / compute
    step = max(by_memory, by_compute)
    prefill = 2 * shape.active_parameters * traffic.prompt_tokens / compute
    # While one request of a batch is prefilled the others wait: a request costs its prefill, and its part of the steps.
    a_request = prefill + traffic.completion_tokens * step / batch
    capacity = 1 / a_request
    plan.steps += [
        Step(
            "decode step",
            step,
            "seconds",
            f"max(({weights / GIB:.2f} GiB + {batch} x {context:.0f} tokens x KV) / ({engine.gpu.bandwidth_gb_s:g} "
            f"GB/s x {BANDWIDTH_SHARE} x {plan.gpus}), 2 x {shape.active_parameters:.3g} x {batch} / "
            f"({engine.gpu.tflops:g} TFLOPS x {COMPUTE_SHARE} x {plan.gpus}))",
        ),
        Step(
            "prefill",
            prefill,
            "seconds",
            f"2 x {shape.active_parameters:.3g} x {traffic.prompt_tokens} tokens / ({engine.gpu.tflops:g} TFLOPS x "
            f"{COMPUTE_SHARE} x {plan.gpus})",
        ),
        Step(
            "tokens per second",
            capacity * traffic.completion_tokens,
            "tokens",
            f"{traffic.completion_tokens} / (prefill + {traffic.completion_tokens} x decode step / {batch}), estimated",
        ),
    ]
    return capacity


def _remark(plan: Plan, shape: ModelShape, engine: Engine) -> None:
    attention = shape.attention
    if attention.windowed:
        plan.notes.append(f"{attention.windowed} layers see {attention.window} tokens alone, and keep no more.")
    if attention.latent:
        plan.notes.append("The cache of latent attention is not split over GPUs: each holds all of it.")
    if shape.expert_share < 1:
        plan.notes.append("Of the experts' weights all are in memory and are counted as read in every step.")
    if engine.gpu.name == "T4" and (engine.dtype or shape.dtype) == "bfloat16":
        plan.notes.append("A T4 has no bfloat16: take --dtype float16.")
