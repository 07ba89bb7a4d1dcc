"""Fine-tuning jobs: what they start from, and what they may take of the machine."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator

from serving.settings.base import FilePath, Settings, absolute, absolute_path

_SEVERAL = "a training on several is started by hand, with `accelerate launch -m training.tuning.worker FOLDER`"


class TrainingSettings(Settings):
    """Fine-tuning. With this section, even an empty one (`training: {}`), `/v1/fine_tuning/jobs` is served."""

    base: str | None = Field(
        default=None,
        min_length=1,
        description="Checkpoint that is trained on: a folder, or a hub id. Default: the base model's own, `model.id`.",
    )
    folder: FilePath = Field(
        default=Path(".loraplex/jobs"),
        description="Where jobs keep their data, checkpoints and logs. With `gpus_per_job` on several machines: a "
        "folder that all of them share.",
    )
    max_concurrent_jobs: int = Field(default=1, ge=1, le=1024, description="Jobs that train at once; others wait.")
    max_unfinished_jobs: int = Field(
        default=100, ge=1, description="Jobs that wait, train or are paused; above it creating one is a 429."
    )
    cpus_per_job: int | None = Field(
        default=None,
        ge=1,
        description="Threads of a job, and cores that Ray reserves where it launches it. Default: as many threads as "
        "there are cores, at the lowest priority, and none reserved.",
    )
    gpus_per_job: float = Field(
        default=0,
        ge=0,
        description="GPUs that Ray reserves for a job, at most 1. 0: jobs are processes beside the control plane.",
    )
    visible_devices: str = Field(
        default="",
        description="`CUDA_VISIBLE_DEVICES` of a job that Ray does not launch: one device. Empty: it trains on the "
        "processor.",
    )
    niceness: int = Field(
        default=19, ge=0, le=19, description="How far a job steps back for other processes on the processor; 19: most."
    )
    max_attempts: int = Field(
        default=3, ge=1, le=100, description="Starts in a row without a new checkpoint before a job fails."
    )
    max_file_bytes: int = Field(
        default=256 * 1024**2,
        ge=1024,
        description="Largest file that is taken where there is no section `knowledge`, whose own limit holds "
        "otherwise; in bytes, above it 413.",
    )
    keep_days: float = Field(
        default=30, ge=0, description="How long the folder of a job stays after its end: checkpoints, curves, log."
    )

    @field_validator("gpus_per_job")
    @classmethod
    def _one_gpu(cls, gpus: float) -> float:
        if gpus > 1:
            raise ValueError(f"is {gpus:g}, but a job is one process on one GPU; {_SEVERAL}")
        return gpus

    @field_validator("visible_devices")
    @classmethod
    def _one_device(cls, devices: str) -> str:
        if "," in devices:
            raise ValueError(f"names several devices, but a job is one process on one GPU; {_SEVERAL}")
        return devices

    def with_absolute_paths(self, base: Path) -> Self:
        """The same, with every relative path taken from ``base``."""
        return self.model_copy(
            update={
                "folder": absolute_path(self.folder, base),
                "base": None if self.base is None else absolute(self.base, base),
            }
        )
