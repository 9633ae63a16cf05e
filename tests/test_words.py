"""Both adapters reject the same mistakes with the same words, before anything is changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from dramatiq.brokers.stub import StubBroker

from otel_queue_plugins.celery import instrument as instrument_celery
from otel_queue_plugins.celery import uninstrument
from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware
from otel_queue_plugins.dramatiq import instrument as instrument_dramatiq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Instrument = Callable[..., object]


@pytest.fixture(params=["celery", "dramatiq", "middleware"])
def instrument(request: pytest.FixtureRequest) -> Iterator[Instrument]:
    """What a user calls with options."""
    if request.param == "celery":
        app = Celery("words", set_as_current=False)
        yield lambda **options: instrument_celery(app, **options)
        uninstrument()
    elif request.param == "dramatiq":
        broker = StubBroker()
        yield lambda **options: instrument_dramatiq(broker, **options)
        assert all(type(each).__module__.startswith("dramatiq") for each in broker.middleware)
    else:
        yield OpenTelemetryMiddleware


ONE_OF = "is not one of "


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"relation": "parent"}, f"relation: 'parent' {ONE_OF}'child', 'link', 'none', 'auto'"),
        ({"relation": ["link"]}, f"relation: ['link'] {ONE_OF}'child', 'link', 'none', 'auto'"),
        ({"metrics": 5}, f"metrics: 5 {ONE_OF}'taskqueue.task.prefetch_wait', "),
        ({"metrics": ["cpu"]}, f"metrics: 'cpu' {ONE_OF}'taskqueue.task.prefetch_wait', "),
        ({"auto_link_after": "x"}, "auto_link_after: 'x' is not a number above 0"),
        ({"auto_link_fan_out": 1.5}, "auto_link_fan_out: 1.5 is not a whole number above 0"),
        (
            {"broker_spans": "perhaps"},
            f"broker_spans: 'perhaps' {ONE_OF}true, false, 1, 0, yes, no, on, off",
        ),
        ({"tracer_provider": 5}, "tracer_provider: 5 is not a provider: it has no method get_tr"),
        ({"meter_provider": "x"}, "meter_provider: 'x' is not a provider: it has no method get_m"),
    ],
)
def test_option_with_wrong_value_raises_with_value_and_choices(
    instrument: Instrument, options: dict[str, Any], words: str
) -> None:
    """The error has the option, the value and the choices."""
    with pytest.raises(ValueError, match="is not") as raised:
        instrument(**options)
    assert str(raised.value).startswith(words)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("relaton", "relation"),
        ("tracer_providr", "tracer_provider"),
        ("brokerspans", "broker_spans"),
    ],
)
def test_unknown_option_raises_with_the_most_similar_name(
    instrument: Instrument, name: str, near: str
) -> None:
    """The error has the name, the most similar one, and all of them."""
    with pytest.raises(TypeError) as raised:
        instrument(**{name: "link"})
    line = str(raised.value)
    assert line.startswith(f"there is no option {name!r}; did you mean {near!r}? The options are ")
    assert "relation, auto_link_after" in line
    assert line.endswith("tracer_provider, meter_provider")


def test_relations_option_of_celery_is_checked() -> None:
    """It is a mapping, and its name is suggested for a misspelt one."""
    app = Celery("words", set_as_current=False)
    with pytest.raises(ValueError, match=r"^relations: \['a'\] is not a mapping of task names to"):
        instrument_celery(app, relations=["a"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^relations\['a'\]: 'sideways' is not one of 'child'"):
        instrument_celery(app, relations={"a": "sideways"})
    with pytest.raises(TypeError, match="did you mean 'relations'"):
        instrument_celery(app, relatons={"a": "link"})
    uninstrument()


def test_instrument_without_a_broker_raises() -> None:
    """The order of the arguments was wrong, or one was forgotten."""
    with pytest.raises(TypeError, match=r"^'shop' is not a Dramatiq broker$"):
        instrument_dramatiq("shop")  # type: ignore[arg-type]


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_options_of_second_instrument_are_checked_and_logged(
    framework: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are not used, so they are logged by name."""
    if framework == "celery":
        call: Instrument = instrument_celery
    else:
        broker = StubBroker()
        call = lambda **options: instrument_dramatiq(broker, **options)  # noqa: E731
    call()
    call(relation="link", metrics=None)
    with pytest.raises(TypeError, match="did you mean 'relation'"):
        call(relaton="link")
    uninstrument()
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    said = "is instrumented already; the options relation are not used"
    assert record.getMessage().endswith(said)
