"""``ray.serve.llm.build_openai_app`` on a Ray of its own, until it is told to stop. Started by ``peers.ray_llm``."""

import contextlib
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import yaml


def serve_until_told(settings: dict[str, Any]) -> None:
    """Run the app of ``settings`` (see ``peers.ray_llm``) until SIGTERM."""
    import ray
    from ray import serve
    from ray.serve.llm import LLMConfig, build_openai_app

    told = threading.Event()
    # Sockets live below this folder, and their paths may have 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="lpx-", dir="/tmp"))
    try:
        ray.init(
            address="local",
            num_cpus=16,  # logical: Ray must not refuse a replica because the machine is small
            include_dashboard=False,
            object_store_memory=256 * 2**20,
            log_to_driver=False,
            runtime_env={"env_vars": settings["env"]},
            _temp_dir=str(folder),
        )
        serve.start(http_options={"host": "127.0.0.1", "port": settings["port"]})
        config = LLMConfig(
            model_loading_config={"model_id": settings["name"], "model_source": settings["model"]},
            engine_kwargs=settings["arguments"],
            accelerator_config={"kind": "cpu"},
            placement_group_config={"bundles": [{"CPU": 1}]},
            deployment_config={"num_replicas": 1},
        )
        serve.run(build_openai_app({"llm_configs": [config]}), blocking=False)
        # Ray puts handlers of its own in place while it starts.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told.set())
        told.wait()
    finally:
        with contextlib.suppress(Exception):
            serve.shutdown()
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    serve_until_told(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8")))
