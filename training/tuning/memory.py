"""Memory of a training."""

import ctypes
import resource
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, for the rest of this process.

    By default every large tensor is mapped anew and its pages are cleared by the kernel, at every step: a third of
    the time of a training on the CPU went there. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST)


def peak_memory_bytes() -> int:
    """The most memory that this process held: on the GPU if there is one, else its resident set on the host."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
