"""What runs inside vLLM's worker processes: an account of the adapters that the worker itself holds."""

import sys
from typing import Any

from serving.engine.vllm_cpu_lora import mend_base_rows

if "vllm" in sys.modules:
    # vLLM imports this module in each of its workers before it builds a model there, and nothing else does.
    mend_base_rows()


class AdapterAccount:
    """Mixed into vLLM's worker class (``worker_extension_cls``) and called over ``collective_rpc``.

    vLLM's own ``list_loras`` says what is loaded; only the worker knows which of those sit in a slot now.
    """

    model_runner: Any

    def loraplex_adapters(self) -> dict[str, list[int]]:
        """Ids of the adapters in memory (``loaded``) and of those copied into a slot (``active``)."""
        manager = getattr(self.model_runner, "lora_manager", None)
        if manager is None:
            return {"loaded": [], "active": []}
        slots = manager._adapter_manager.lora_index_to_id  # noqa: SLF001  (vLLM has no public account of its slots)
        return {
            "loaded": sorted(manager.list_adapters()),
            "active": sorted(held for held in slots if held is not None),
        }
