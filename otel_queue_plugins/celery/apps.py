"""Celery apps, and proxies of them such as `celery.current_app`."""

from __future__ import annotations

from typing import Any

from celery import Celery


def unwrap_proxy(app: Any) -> Any:
    """Return the app itself if `app` is a proxy of one, else `app`.

    A proxy, of Celery or of another package, cannot be referenced weakly and is not the same object
    as the app; its bound methods are those of the app.
    """
    return getattr(getattr(app, "set_current", None), "__self__", app)


def check_app(value: object) -> Celery:
    """Return the app that `value` is, or is a proxy of. Raises TypeError for anything else."""
    problem: Exception | None = None
    try:
        if isinstance(value, Celery):
            app: Celery = unwrap_proxy(value)
            return app
    except Exception as error:  # noqa: BLE001 - a proxy of nothing may raise anything
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
