"""The process behind `harness.Producer`: imports an app, then runs the snippets it is sent.

One JSON line in (`code`, `traceparent`, `baggage`), one JSON line out on the file descriptor
given as second argument (`result` or `error`). The snippet sees the app module's names.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from opentelemetry import context, propagate


def main(module_name: str, answers_fd: int) -> None:
    """Answer requests until stdin ends."""
    module = importlib.import_module(module_name)
    with os.fdopen(answers_fd, "w", buffering=1) as answers:
        answers.write(json.dumps({"result": "ready"}) + "\n")
        for line in sys.stdin:
            answers.write(
                json.dumps(_run(json.loads(line), dict(vars(module))), default=str) + "\n"
            )


def _run(request: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    token = context.attach(propagate.extract(request["carrier"], context=context.Context()))
    try:
        exec(compile(request["code"], "<snippet>", "exec"), names)  # noqa: S102
    except BaseException:  # noqa: BLE001 - told to the test
        return {"error": traceback.format_exc()}
    finally:
        context.detach(token)
    return {"result": names.get("result")}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
