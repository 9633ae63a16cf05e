"""kombu's transport over files, with messages that appear in one piece.

kombu writes a message where others read already, so a busy machine may hand out half of one; the
worker that gets it ends. Seen with kombu 5.7, once in some thirty runs.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Writes under a name that nobody reads, then renames."""

    def _put(self, *queue_and_message: Any, **_: Any) -> None:
        queue, message = queue_and_message
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        file = Path(self.data_folder_out) / name
        part = file.with_suffix(".part")
        part.write_text(dumps(message))
        part.rename(file)


class Transport(filesystem.Transport):
    """The transport of `filesystem://` in the processes of the demo."""

    Channel = Channel


def use() -> None:
    """Have `filesystem://` mean this transport, in this process."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
