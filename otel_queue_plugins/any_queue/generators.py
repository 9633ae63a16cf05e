"""Spans around generators: open until the end, current while the generator's own code runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Protocol


class Operation(Protocol):
    """What is needed of a `trace_operation`."""

    def open(self) -> None:
        """Start the span."""

    def resume(self) -> None:
        """Make the span current."""

    def pause(self) -> None:
        """Make current what was so before."""

    def close(self, error: BaseException | None) -> None:
        """End the span."""


def traced(
    function: Callable[..., Generator[Any, Any, Any]], make: Callable[[], Operation]
) -> Callable[..., Any]:
    """`function` with a span around each of its generators."""

    def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        operation, generator = make(), function(*args, **kwargs)

        def step(go_on: Callable[..., Any], *values: Any) -> Any:
            operation.resume()
            try:
                return go_on(*values)
            finally:
                operation.pause()

        operation.open()
        error: BaseException | None = None
        try:
            value = step(generator.send, None)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:  # noqa: PERF203 - each step may end in its own way
                    step(generator.close)
                    raise
                except BaseException as thrown:  # noqa: BLE001 - for the generator to handle
                    value = step(generator.throw, thrown)
                else:
                    value = step(generator.send, sent)
        except StopIteration as stop:
            return stop.value
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.close(error)

    return generate


def traced_async(
    function: Callable[..., AsyncGenerator[Any, Any]], make: Callable[[], Operation]
) -> Callable[..., Any]:
    """`function` with a span around each of its asynchronous generators."""

    async def generate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        operation, generator = make(), function(*args, **kwargs)

        async def step(go_on: Callable[..., Awaitable[Any]], *values: Any) -> Any:
            operation.resume()
            try:
                return await go_on(*values)
            finally:
                operation.pause()

        operation.open()
        error: BaseException | None = None
        try:
            value = await step(generator.asend, None)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:  # noqa: PERF203 - each step may end in its own way
                    await step(generator.aclose)
                    raise
                except BaseException as thrown:  # noqa: BLE001 - for the generator to handle
                    value = await step(generator.athrow, thrown)
                else:
                    value = await step(generator.asend, sent)
        except StopAsyncIteration:
            return
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.close(error)

    return generate
