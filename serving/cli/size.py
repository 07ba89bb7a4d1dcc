"""``loraplex size``: model, adapters and traffic in; memory, GPUs and replicas out."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.sizing.errors import CannotSize
from serving.sizing.gpus import GPUS

if TYPE_CHECKING:
    from serving.sizing.plan import Adapters, Engine, Plan
    from serving.sizing.shape import ModelShape

_USAGE = 2
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmbt]?)", re.IGNORECASE)
_TIMES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_DTYPES = ("float16", "bfloat16", "float32", "fp8", "int8", "int4")
_KV_DTYPES = ("float16", "bfloat16", "float32", "fp8")


def _gpu(name: str) -> str:
    known = {one.upper(): one for one in GPUS}
    found = known.get(name.upper())
    if found is None:
        raise typer.BadParameter(f"there is no `{name}` in the table; it has {', '.join(GPUS)}")
    return found


def _one_of(*known: str) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in known:
            raise typer.BadParameter(f"`{value}` is none of {', '.join(known)}")
        return value

    return check


def _count(text: str) -> int:
    """``8b`` is eight thousand million."""
    found = _COUNT.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter("write a number such as 8b or 350m", param_hint="--parameters")
    return round(float(found[1]) * _TIMES[found[2].lower()])


_Model = Annotated[
    str | None,
    typer.Argument(help="Folder of a checkpoint, or a hub id. Or give --parameters, --layers, …", show_default=False),
]
_Gpu = Annotated[str, typer.Option("--gpu", callback=_gpu, help=f"One of {', '.join(GPUS)}.")]
_Gpus = Annotated[
    int | None,
    typer.Option("--gpus", min=1, max=64, help="Of one replica. Default: as few as fit.", show_default=False),
]
_Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        callback=_one_of(*_DTYPES),
        help="Of the weights in the engine. Default: as the checkpoint has them.",
        show_default=False,
    ),
]
_KvDtype = Annotated[
    str | None,
    typer.Option("--kv-dtype", callback=_one_of(*_KV_DTYPES), help="Of the KV cache.", show_default=False),
]
_Length = Annotated[
    int | None,
    typer.Option("--max-model-len", min=16, help="Longest prompt and answer together. Default: the model's own."),
]
_Slots = Annotated[int, typer.Option("--slots", min=0, help="`adapters.slots`; 0: no adapters.")]
_CpuSlots = Annotated[int, typer.Option("--cpu-slots", min=1, help="`adapters.cpu_slots`.")]
_MaxRank = Annotated[int, typer.Option("--max-rank", min=1, help="`adapters.max_rank`.")]
_Rank = Annotated[int | None, typer.Option("--rank", min=1, help="Of a typical version. Default: --max-rank.")]
_Targets = Annotated[
    list[str] | None, typer.Option("--target", help="Module that versions change, such as q_proj. Default: all.")
]
_Rate = Annotated[float, typer.Option("--requests", min=0.0001, help="Requests a second, at the busiest time.")]
_Prompt = Annotated[int, typer.Option("--prompt", min=1, help="Tokens of a prompt, passages included.")]
_Completion = Annotated[int, typer.Option("--completion", min=1, help="Tokens of an answer.")]
_Concurrent = Annotated[
    int | None, typer.Option("--concurrent", min=1, help="Requests in progress at once. Default: it follows.")
]
_Measured = Annotated[
    float | None,
    typer.Option(
        "--tokens-per-second", min=0.001, help="What one replica generated under load. Default: it is estimated."
    ),
]


_Parameters = Annotated[
    str | None, typer.Option("--parameters", help="Such as 8b, where no MODEL is given.", show_default=False)
]
_Layers = Annotated[int | None, typer.Option("--layers", min=1, help="Of it.", show_default=False)]
_Hidden = Annotated[int | None, typer.Option("--hidden", min=1, help="Its hidden size.", show_default=False)]
_Heads = Annotated[int | None, typer.Option("--heads", min=1, help="Its attention heads.", show_default=False)]
_KvHeads = Annotated[
    int | None, typer.Option("--kv-heads", min=1, help="Its key and value heads. Default: --heads.", show_default=False)
]
_Intermediate = Annotated[
    int | None, typer.Option("--intermediate", min=1, help="Of its MLP. Default: 3.5 x --hidden.", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")]


def size(
    model: _Model = None,
    *,
    gpu: _Gpu = "L4",
    gpus: _Gpus = None,
    dtype: _Dtype = None,
    kv_dtype: _KvDtype = None,
    max_model_len: _Length = None,
    slots: _Slots = 4,
    cpu_slots: _CpuSlots = 8,
    max_rank: _MaxRank = 16,
    rank: _Rank = None,
    target: _Targets = None,
    requests: _Rate = 1.0,
    prompt: _Prompt = 1000,
    completion: _Completion = 250,
    concurrent: _Concurrent = None,
    tokens_per_second: _Measured = None,
    parameters: _Parameters = None,
    layers: _Layers = None,
    hidden: _Hidden = None,
    heads: _Heads = None,
    kv_heads: _KvHeads = None,
    intermediate: _Intermediate = None,
    as_json: _Json = False,
) -> None:
    """Say what memory and how many GPUs a model, its adapters and its traffic take, with the formulas.

    Weights, cache and adapters are exact. Activations, and everything about time, are estimates with the assumptions of
    docs/sizing.md: measure one replica, and give --tokens-per-second.
    """
    from serving.sizing.plan import Adapters, Engine, Traffic, make_plan

    engine = Engine(GPUS[gpu], gpus, dtype, kv_dtype, max_model_len)
    adapters = (
        Adapters(slots, max(cpu_slots, slots), max_rank, rank or max_rank, tuple(target or ())) if slots else None
    )
    traffic = Traffic(requests, prompt, completion, concurrent, tokens_per_second)
    try:
        numbers = (parameters, layers, hidden, heads, kv_heads, intermediate)
        shape = _read(model, numbers) if model is not None else _written(*numbers)
        plan = make_plan(shape, engine, adapters, traffic)
    except CannotSize as error:
        typer.echo(f"{str(error)[:1].upper()}{str(error)[1:]}.", err=True)
        raise typer.Exit(_USAGE) from None
    text = (
        json.dumps(_body(shape, engine, adapters, plan), indent=2) if as_json else _page(shape, engine, adapters, plan)
    )
    typer.echo(text)


def _read(model: str, numbers: tuple[object, ...]) -> "ModelShape":
    """The shape of a model that is named. Raises CannotSize."""
    from serving.settings.base import is_local_path

    if any(number is not None for number in numbers):
        raise CannotSize("MODEL says all of its numbers; leave out --parameters, --layers and the like")
    if Path(model).is_dir():
        from serving.sizing.shape import read_shape

        return read_shape(Path(model))
    if is_local_path(model):
        raise CannotSize(f"there is no folder {model}")
    from serving.sizing.hub import read_hub_shape

    return read_hub_shape(model)


def _written(
    parameters: str | None,
    layers: int | None,
    hidden: int | None,
    heads: int | None,
    kv_heads: int | None,
    intermediate: int | None,
) -> "ModelShape":
    """The shape that the options describe. Raises CannotSize."""
    from serving.sizing.shape import shape_of_numbers

    if parameters is None or layers is None or hidden is None or heads is None:
        raise CannotSize("name a MODEL (a folder or a hub id), or give --parameters, --layers, --hidden and --heads")
    return shape_of_numbers(_count(parameters), layers, hidden, heads, kv_heads or heads, intermediate)


def _configuration(engine: "Engine", adapters: "Adapters | None", plan: "Plan") -> dict[str, object]:
    """The sections of the configuration that the plan decides, replicas aside."""
    args: dict[str, object] = {"max_model_len": plan.max_model_len, "max_num_seqs": engine.max_num_seqs}
    if plan.gpus > 1:
        args["tensor_parallel_size"] = plan.gpus
    if engine.dtype in ("float16", "bfloat16", "float32"):
        args["dtype"] = engine.dtype
    if engine.kv_dtype is not None:
        args["kv_cache_dtype"] = engine.kv_dtype
    held: dict[str, object] = {"enabled": False}
    if adapters is not None:
        held = {"slots": adapters.slots, "cpu_slots": adapters.cpu_slots, "max_rank": adapters.max_rank}
    return {"engine": {"args": args}, "adapters": held}


def _chart_values(engine: "Engine", adapters: "Adapters | None", plan: "Plan") -> dict[str, object]:
    gateway = {"replicas": plan.replicas, "gpus": plan.gpus}
    return {"gateway": gateway, "config": _configuration(engine, adapters, plan)}


def _body(shape: "ModelShape", engine: "Engine", adapters: "Adapters | None", plan: "Plan") -> Mapping[str, object]:
    steps = [
        {"name": step.name, "value": step.value, "unit": step.unit, "formula": step.formula} for step in plan.steps
    ]
    return {
        "object": "sizing",
        "model": shape.name,
        "gpu": engine.gpu.name,
        "gpus_per_replica": plan.gpus,
        "replicas": plan.replicas,
        "gpus": plan.gpus * plan.replicas,
        "steps": steps,
        "notes": plan.notes,
        "configuration": {"replicas": plan.replicas, "gpus_per_replica": plan.gpus}
        | _configuration(engine, adapters, plan),
        "chart": _chart_values(engine, adapters, plan),
    }


def _page(shape: "ModelShape", engine: "Engine", adapters: "Adapters | None", plan: "Plan") -> str:
    import yaml

    lines = [
        f"{shape.name}: {shape.parameters / 1e9:.2f} billion parameters, on {engine.gpu.name}",
        "",
        "Each GPU of a replica, then the replica",
        *(f"  {step.name:<20} {_amount(step.value, step.unit):>14}   = {step.formula}" for step in plan.steps),
        "",
        f"{plan.replicas} x {plan.gpus} {engine.gpu.name} = {plan.replicas * plan.gpus} GPUs",
        *(f"  {note}" for note in plan.notes),
        "",
        "As values of the chart. In a configuration file the sections under `config` stand by themselves, beside",
        f"`replicas: {plan.replicas}` and `gpus_per_replica: {plan.gpus}`:",
        "",
        yaml.safe_dump(_chart_values(engine, adapters, plan), sort_keys=False).rstrip(),
    ]
    return "\n".join(lines)


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        for name, size_of in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
            if value >= size_of:
                return f"{value / size_of:.2f} {name}"
        return f"{value:.0f} B"
    if unit == "seconds":
        return f"{value * 1000:.2f} ms"
    return f"{value:,.1f}" if value % 1 else f"{value:,.0f}"
