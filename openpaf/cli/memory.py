"""Keeps the memory of one training step for the next one."""

from __future__ import annotations

import ctypes
import logging
import sys

_log = logging.getLogger(__name__)
# Names and numbers of malloc.h, see mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1  # the largest number that it takes, in bytes
_AT_ONCE = 64 * 2**20  # bytes by which the heap grows


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it has freed, where the allocator is glibc's.

    Glibc gives large blocks back to the system and gets them again, page by page, for the next
    layer: a third of the time of a training step on a CPU. The process then takes as much memory as
    its largest step, until it ends.

    Returns:
        Whether the allocator took it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _AT_ONCE))
    taken = all(mallopt(name, value) for name, value in settings)
    _log.debug("freed memory is kept: %s", taken)
    return taken
