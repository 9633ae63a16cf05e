"""Talks to callgrind from inside a Python process it runs.

Valgrind reads requests from the instruction stream: a harmless sequence it recognises, with a
block of words as the message (valgrind.h and callgrind.h describe both). A few instructions in an
executable page send it, so no compiler is needed. Outside valgrind they do nothing.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Final

_TOOL_BASE: Final = (ord("C") << 24) + (ord("T") << 16)
_ZERO_STATS: Final = _TOOL_BASE + 1
_DUMP_STATS_AT: Final = _TOOL_BASE + 3
_START_INSTRUMENTATION: Final = _TOOL_BASE + 4

_X86_64_REQUEST: Final = bytes.fromhex(
    "4889f8"  # mov rax, rdi: the request block
    "31d2"  # xor edx, edx: the answer outside valgrind
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi by 3, 13, 61, 51: 128 bits, unchanged
    "4887db"  # xchg rbx, rbx: "now"
    "4889d0"  # mov rax, rdx
    "c3"  # ret
)


def is_supported() -> bool:
    """Whether requests can be sent from this machine's instruction set."""
    return platform.machine() == "x86_64" and platform.system() == "Linux"


class Callgrind:
    """Counts instructions between `begin` and `end`; `end` makes callgrind write a file."""

    def __init__(self) -> None:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(_X86_64_REQUEST)
        self._page = page
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        self._send = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(address)
        self._request(_START_INSTRUMENTATION)

    def begin(self) -> None:
        self._request(_ZERO_STATS)

    def end(self, label: str) -> None:
        """Write what was counted since `begin`, marked with `label`."""
        text = ctypes.create_string_buffer(label.encode())
        self._request(_DUMP_STATS_AT, ctypes.addressof(text))

    def _request(self, code: int, argument: int = 0) -> None:
        block = (ctypes.c_ulong * 6)(code, argument, 0, 0, 0, 0)
        self._send(ctypes.addressof(block))
