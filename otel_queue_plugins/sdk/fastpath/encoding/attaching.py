"""Make the official exporters encode with our encoder. All else they do stays as it is.

An exporter over HTTP calls a function of its module: it gets a copy of its method `export` in which
that name means our function. An exporter over gRPC calls a method of its own, which is replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder

T = TypeVar("T", bound=Any)

_SERIALIZING = {"SerializeToString", "SerializePartialToString"}

logger = logging.getLogger("otel_queue_plugins")


def attach(encoder: Encoder | None, exporter: T) -> T:
    """Make `exporter` use `encoder` if its kind is known, and return it. None changes nothing."""
    if encoder is None:
        return exporter
    try:
        if not (_over_grpc(encoder, exporter) or _over_http(encoder, exporter)):
            logger.debug("%s is of no kind that can use our encoder", type(exporter))
    except Exception:
        logger.debug("%s cannot use our encoder", type(exporter), exc_info=True)
    return exporter


def is_attached(exporter: object) -> bool:
    """Whether `attach` has made `exporter` use an encoder."""
    return not {"export", "_translate_data"}.isdisjoint(vars(exporter))


class _Serialized:
    """Bytes in place of a protobuf message of which only `SerializeToString` is called."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:  # noqa: N802 - the message's name
        return self._content

    SerializePartialToString = SerializeToString


def _over_http(encoder: Encoder, exporter: Any) -> bool:
    official = encoder.signal.official
    export = _method_calling(official, exporter, "export")
    if export is None or not _SERIALIZING.intersection(export.__code__.co_names):
        return False

    def encode(batch: Sequence[Any]) -> _Serialized:
        return _Serialized(encoder.request(batch))

    names = {**export.__globals__, official.__name__: encode}
    ours = FunctionType(
        export.__code__, names, export.__name__, export.__defaults__, export.__closure__
    )
    exporter.export = MethodType(ours, exporter)
    return True


def _over_grpc(encoder: Encoder, exporter: Any) -> bool:
    official = encoder.signal.official
    if _method_calling(official, exporter, "_translate_data") is None:
        return False
    message = type(official([]))

    def translate(batch: Sequence[Any]) -> Any:
        content = encoder.request(batch)
        try:
            return message.FromString(content)
        except Exception:  # noqa: BLE001 - nested too deeply for protobuf to read it
            return official(batch)

    exporter._translate_data = translate  # noqa: SLF001 - there is no public way
    return True


def _method_calling(function: Any, exporter: Any, name: str) -> FunctionType | None:
    """The exporter's method `name` if it calls `function` by its global name, else None."""
    method = getattr(type(exporter), name, None)
    if type(method) is not FunctionType or name in vars(exporter):
        return None
    calls = method.__globals__.get(function.__name__) is function
    return method if calls and function.__name__ in method.__code__.co_names else None
