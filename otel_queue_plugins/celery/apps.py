"""The app that is meant by what stands for it, such as `celery.current_app`."""

from __future__ import annotations

from typing import Any

from celery import Celery


def behind(app: Any) -> Any:
    """The app itself, where `app` is a proxy, of Celery or of anybody else.

    A proxy has no weak references, and is not the same object as the app. Its methods are the
    app's own.
    """
    return getattr(getattr(app, "set_current", None), "__self__", app)


def checked(value: object) -> Celery:
    """The app that `value` is or stands for. Raises TypeError if it is neither."""
    problem: Exception | None = None
    try:
        if isinstance(value, Celery):
            app: Celery = behind(value)
            return app
    except Exception as error:  # noqa: BLE001 - a proxy with nothing behind it raises what it likes
        problem = error
    raise TypeError(
        f"{_shown(value)} is no Celery app: give one, what stands for one (celery.current_app), "
        "or nothing for every app"
    ) from problem


def _shown(value: object) -> str:
    try:
        return repr(value)[:200]
    except Exception:  # noqa: BLE001 - likewise
        return object.__repr__(value)
