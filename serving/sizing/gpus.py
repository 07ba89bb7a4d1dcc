"""GPUs that are in use, with the three numbers that decide what they serve.

Memory is what ``nvidia-smi`` shows, in MiB. Bandwidth and dense 16-bit throughput are of NVIDIA's data sheets; where a
sheet gives throughput with sparsity alone, it is halved.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of GPU."""

    name: str
    memory_mib: int
    bandwidth_gb_s: float
    """Of its memory, in 10^9 bytes a second."""
    tflops: float
    """10^12 floating-point operations a second, dense, with 16 bits."""


_ALL = (
    Gpu("T4", 15_360, 320, 65),  # data sheet "NVIDIA T4", 2019
    Gpu("L4", 23_034, 300, 121),  # "NVIDIA L4", 2023: 242 with sparsity
    Gpu("A10", 23_028, 600, 125),  # "NVIDIA A10", 2022
    Gpu("L40S", 46_068, 864, 362),  # "NVIDIA L40S", 2023: 733 with sparsity
    Gpu("RTX4090", 24_564, 1_008, 165),  # "NVIDIA Ada GPU architecture", 2022: with accumulation in 32 bits
    Gpu("A100-40GB", 40_960, 1_555, 312),  # "NVIDIA A100", 2021
    Gpu("A100-80GB", 81_920, 2_039, 312),  # the same, SXM
    Gpu("H100", 81_559, 3_350, 989),  # "NVIDIA H100", 2023, SXM: 1,979 with sparsity
    Gpu("H100-PCIE", 81_559, 2_000, 756),  # the same, PCIe: 1,513 with sparsity
    Gpu("H100-NVL", 95_830, 3_900, 835),  # the same, NVL: 1,671 with sparsity
    Gpu("H200", 143_771, 4_800, 989),  # "NVIDIA H200", 2024, SXM
    Gpu("B200", 183_359, 8_000, 2_250),  # "NVIDIA DGX B200", 2024: 72 PFLOPS in 8 bits with sparsity over 8 GPUs
)

GPUS: Mapping[str, Gpu] = {gpu.name: gpu for gpu in _ALL}
"""By name."""
