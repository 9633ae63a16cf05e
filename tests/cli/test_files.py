"""The embedded broker of the Celery demo."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

kombu = pytest.importorskip("kombu")

MESSAGES = 200
LARGE = "x" * 500_000


def test_a_message_is_never_read_before_it_is_whole(tmp_path: Path) -> None:
    """A reader that polls all the time gets every message as it was sent."""
    from otel_queue_plugins.cli.demo.shop.files import Transport

    (tmp_path / "control").mkdir()
    options: dict[str, Any] = {
        "data_folder_in": str(tmp_path),
        "data_folder_out": str(tmp_path),
        "control_folder": str(tmp_path / "control"),
        "processed_folder": str(tmp_path / "control"),
        "store_processed": True,
    }
    with kombu.Connection(transport=Transport, transport_options=options) as connection:
        sending, reading = connection.channel(), connection.channel()
        sender = threading.Thread(
            target=lambda: [sending._put("shop", {"n": n, "x": LARGE}) for n in range(MESSAGES)]
        )
        sender.start()
        read: list[int] = []
        while sender.is_alive() or reading._size("shop"):
            with suppress(kombu.transport.virtual.base.Empty):
                read.append(reading._get("shop")["n"])
        sender.join()
    assert sorted(read) == list(range(MESSAGES))
