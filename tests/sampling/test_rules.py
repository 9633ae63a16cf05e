"""The texts of sampling rules: what they say, and what is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.sampling import TaskQueueSampler
from otel_queue_plugins.sdk.sampling.rules import Keep, Share, parse

NAMES = st.text(
    st.characters(exclude_characters=";:=,/*?[]", exclude_categories=("C", "Z")), min_size=1
)
SHARES = st.one_of(
    st.floats(0, 1).map(Share),
    st.floats(0.001, 1e6).map(lambda rate: Share(rate, is_rate=True)),
)


def written(share: Share) -> str:
    """As in a rule."""
    return f"{share.value!r}/s" if share.is_rate else repr(share.value)


def test_rules_are_read_in_their_order_and_the_default_comes_last() -> None:
    """First match wins, and `default` is for the rest wherever it stands."""
    found = parse(
        "default=50/s ; task:shop.charge = 1.0;task:audit.*=0.01;;queue:bulk=5/s;"
        "keep=errors, slow:500ms,retries;"
    )
    read = [(rule.scope, rule.pattern, rule.share) for rule in found.rules]
    assert read == [
        ("task", "shop.charge", Share(1.0)),
        ("task", "audit.*", Share(0.01)),
        ("queue", "bulk", Share(5.0, is_rate=True)),
        ("default", "*", Share(50.0, is_rate=True)),
    ]
    assert found.keep == Keep(errors=True, retries=True, slow_ns=500_000_000)


@pytest.mark.parametrize("text", ["", " ; ", "task:a=0.5"])
def test_without_a_default_the_rest_is_kept(text: str) -> None:
    """Nothing is lost by a rule that was not written."""
    assert parse(text).rules[-1].share == Share(1.0)
    assert parse(text).keep is None


def test_pattern_is_for_the_whole_name_and_minds_the_case() -> None:
    """`audit.*` is not for `my.audit.x`; no pattern is for what is no message."""
    (audit, everything, _) = parse("task:audit.*=0;queue:*=0").rules
    assert audit.matches("audit.x", None)
    assert not audit.matches("my.audit.x", None)
    assert not audit.matches("Audit.x", None)
    assert not audit.matches(None, "audit.x")
    assert everything.matches("any", "bulk")
    assert not everything.matches(None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task:a=1.5", "sampling rule 'task:a=1.5': '1.5' is not a share from 0 to 1, or a"),
        ("task:a=-1", "sampling rule 'task:a=-1': '-1' is not a share"),
        ("task:a=much", "sampling rule 'task:a=much': 'much' is not a share"),
        ("task:a=nan", "sampling rule 'task:a=nan': 'nan' is not a share"),
        ("task:a=", "sampling rule 'task:a=': '' is not a share"),
        ("queue:a=5/m", "sampling rule 'queue:a=5/m': '5/m' is not a share"),
        ("queue:a=0/s", "sampling rule 'queue:a=0/s': '0/s' is not a share"),
        ("queue:a=1e999/s", "sampling rule 'queue:a=1e999/s': '1e999/s' is not a share"),
        ("job:a=1", "sampling rule 'job:a=1': use task:NAME=SHARE, queue:NAME=SHARE, default=SHA"),
        ("task:=1", "sampling rule 'task:=1': use task:NAME"),
        ("default:a=1", "sampling rule 'default:a=1': use task:NAME"),
        ("0.5", "sampling rule '0.5': use task:NAME"),
        ("keep", "sampling rule 'keep': use task:NAME"),
        ("task:a=1;task:a=0", "sampling rule 'task:a=0': task:a has a rule before it"),
        ("default=1;default=0", "sampling rule 'default=0': default has a rule before it"),
        ("keep=failures", "sampling rule 'keep=failures': 'failures' is not one of errors, retr"),
        ("keep=slow", "sampling rule 'keep=slow': 'slow' is not one of errors, retries and slow:T"),
        ("keep=slow:5", "sampling rule 'keep=slow:5': 'slow:5' is not a time such as slow:5s"),
        ("keep=errors;keep=slow:5s", "sampling rule 'keep=slow:5s': keep is given twice"),
    ],
)
def test_wrong_rule_is_named(text: str, words: str) -> None:
    """With what it may be."""
    with pytest.raises(ValueError, match="sampling rule") as raised:
        TaskQueueSampler(text)
    assert str(raised.value).startswith(words)


def test_keep_may_be_given_apart_but_not_twice() -> None:
    """As an argument, in the same words."""
    assert TaskQueueSampler("default=0", keep="slow:2m").keep == Keep(slow_ns=120_000_000_000)
    assert TaskQueueSampler("default=0", keep="").keep is None
    with pytest.raises(ValueError, match="keep is given twice"):
        TaskQueueSampler("keep=errors", keep="errors")
    with pytest.raises(ValueError, match="'often' is not one of"):
        TaskQueueSampler(keep="often")


@given(st.dictionaries(st.tuples(st.sampled_from(["task", "queue"]), NAMES), SHARES, max_size=8))
def test_what_is_written_is_what_is_read(rules: dict[tuple[str, str], Share]) -> None:
    """For any names and numbers."""
    text = ";".join(f"{scope}:{name}={written(share)}" for (scope, name), share in rules.items())
    read = parse(text).rules[:-1]
    assert {(rule.scope, rule.pattern): rule.share for rule in read} == rules


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """With a ValueError, and with nothing else."""
    try:
        parse(text)
    except ValueError as error:
        assert str(error).startswith("sampling rule ")  # noqa: PT017 - it need not be raised
