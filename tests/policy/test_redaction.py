"""Redaction: what is found, what stays, and the bounds of both."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.core import safety
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.policy.redaction import Redaction
from tests.secrets_corpus import CORPUS, CREDENTIALS, EVERY_RULE, OTHERS, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY = Redaction(EVERY_RULE)
_DEFAULT = Redaction()
_AROUND = st.text(max_size=60)
_GAPS = st.sampled_from([" ", "\n", " (", ", ", "\t"])


@pytest.fixture(autouse=True)
def _no_log_limit() -> Iterator[None]:
    safety._last_logged.clear()
    yield
    safety._last_logged.clear()


@pytest.mark.parametrize("secret", CORPUS, ids=lambda secret: secret.text[:30])
def test_each_secret_of_the_corpus_is_found_by_its_rule(secret: Secret) -> None:
    """And it becomes `[redacted:RULE]`."""
    shown = Redaction([secret.rule]).whole(f"failed: {secret.text}\n")
    assert f"[redacted:{secret.rule}]" in shown
    assert not [part for part in secret.hidden if part in shown]


@given(st.sampled_from(CORPUS), _AROUND, _AROUND, _GAPS)
def test_secret_does_not_leave_in_any_text(
    secret: Secret, before: str, after: str, gap: str
) -> None:
    """Whatever stands around it."""
    shown = _EVERY.head(f"{before}{gap}{secret.text} {after}", 10_000)
    assert not [part for part in secret.hidden if part in shown]


@given(st.sampled_from(CREDENTIALS), st.integers(0, 1100), st.booleans(), st.booleans())
def test_secret_that_is_cut_does_not_leave_in_part(
    secret: Secret, missing: int, spaced: bool, redacted_before: bool
) -> None:
    """At the end of a text that is too long, or at its begin if its end is kept."""
    filler = ("word " if spaced else "password=x ") * 600
    text = f"{filler[: 400 - redacted_before * 200]} {secret.text} {filler}"
    hidden = [part[:8] for part in secret.hidden] + [part[-8:] for part in secret.hidden]
    limit = max(len(text) - len(filler) - missing - 1024, 1)
    assert not [part for part in hidden if part in _DEFAULT.head(text, limit)]
    text = f"{filler}\n{secret.text}\n{filler[:1500]}"
    limit = max(1500 + len(secret.text) - missing % (len(secret.text) + 1024) - 1024, 1)
    assert not [part for part in secret.hidden if part in _DEFAULT.tail(text, limit)]


@pytest.mark.parametrize(
    "text",
    [
        "tests passed: 5, failed: 2",
        "max_tokens=4096",
        "Worker exited prematurely: signal: 9 (SIGKILL)",
        "Invalid token at line 3",
        "http://localhost:4318/v1/traces answered 404",
        "Basic authentication is needed",
        "KeyError: 'monkey'",
        "The digest of the file is wrong",
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    """The default rule must not make errors unreadable."""
    assert _DEFAULT.whole(text) == text


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("card", "order 4111 1111 1111 1112"),
        ("card", "1234567890123456"),
        ("card", "timestamps 1700000000000 1700000000001"),
        ("ip", "version 1.2.3 at 12:34:56 in std::vector, a:b:c"),
        ("ip", "1.2.3.4.5 999.1.1.1"),
        ("email", "user@localhost or @decorator"),
        ("path", "http://host/path and/or 1/2"),
        ("uuid", "123e4567-e89b-12d3-a456"),
    ],
)
def test_text_that_only_looks_like_a_match_stays(rule: str, text: str) -> None:
    """Cards have a check digit, addresses are parsed."""
    assert Redaction([rule]).whole(text) == text


def test_secret_after_letter_whose_small_one_is_longer_is_found() -> None:
    """The small letter of "İ" is two characters; the words are looked for in small letters."""
    assert _DEFAULT.whole("İİİİ PASSWORD=x") == "İİİİ PASSWORD=[redacted:credentials]"


def test_empty_value_is_no_secret() -> None:
    """Nothing is put in its place."""
    assert _DEFAULT.whole('password="" and more') == 'password="" and more'


def test_rules_that_overlap_leave_one_marker() -> None:
    """That of the match that begins first."""
    redaction = Redaction(["email", "/jane.*/"])
    assert redaction.whole("to jane@mail.example now") == "to [redacted:custom]"
    assert redaction.rules == ("credentials", "email", "/jane.*/")


def test_expression_of_user_becomes_custom() -> None:
    """And a comma in it is no separator."""
    redaction = Options(redact=r"/ACME-\d{2,5}/, email,/a\/,b/").redact
    assert redaction.whole("ACME-12345 a/,b j@x.example") == (
        "[redacted:custom] [redacted:custom] [redacted:email]"
    )


def test_callable_comes_besides_and_in_order() -> None:
    """It gets what the rules have left."""
    seen: list[str] = []

    def first(text: str) -> str:
        seen.append(text)
        return text.replace("a", "A")

    redaction = Options(redact=[first, str.lower, "email"]).redact
    assert redaction.whole("a password=x j@x.example") == (
        "a password=[redacted:credentials] [redacted:email]"
    )
    assert seen == ["a password=[redacted:credentials] [redacted:email]"]


def test_callable_comes_besides_the_rules_of_the_environment() -> None:
    """`redact=callable` in code does not switch off what operations has set."""
    environ = {"OTEL_QUEUE_REDACT": "email"}
    redact = Options.from_environ(environ, redact=str.upper).redact
    assert redact.whole("to j@x.example") == "TO [REDACTED:EMAIL]"
    assert Options.from_environ({}, redact=str.upper).redact.rules == ("credentials",)
    assert Options.from_environ(environ, redact="ip").redact.rules == ("credentials", "ip")


@pytest.mark.parametrize("wrong", [lambda _: 1 / 0, lambda _: None])
def test_text_is_withheld_if_callable_fails(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows what may leave of it; the task does not notice."""
    with caplog.at_level(logging.WARNING):
        assert Redaction(functions=[wrong]).head("secret", 100) == "[redacted:custom]"
    assert "secret" not in caplog.text


def test_none_switches_all_rules_off() -> None:
    """Alone, and for the rules only: a callable stays."""
    assert Options(redact="none").redact.whole("password=x") == "password=x"
    assert not Options(redact="NONE").redact
    assert Options(redact=["none", str.upper]).redact.whole("password=x") == "PASSWORD=X"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("mail", "'mail' is not one of 'credentials', 'email', 'card', 'ip', 'path', 'uuid'"),
        ("email,none", "'none' stands alone"),
        ("/(a/", "'/(a/' cannot be used: it is no regular expression"),
        ("/a*/", "it matches the empty text"),
        ("/a", "'/a' is not one of"),
        (",".join(f"/x{n}/" for n in range(21)), "more than 20 expressions"),
        (5, "5 is not one of"),
        ([5], "5 is not one of"),
    ],
)
def test_wrong_rule_raises_with_value_and_choices(value: Any, reason: str) -> None:
    """In the constructor, where the user sees it."""
    with pytest.raises(ValueError, match="redact: ") as raised:
        Options(redact=value)
    assert reason in str(raised.value)


def test_wrong_rule_in_the_environment_keeps_the_default(caplog: pytest.LogCaptureFixture) -> None:
    """It is an error in the log, and `credentials` stays on."""
    with caplog.at_level(logging.ERROR):
        options = Options.from_environ({"OTEL_QUEUE_REDACT": "emali"})
    assert options.redact == Redaction()
    assert "OTEL_QUEUE_REDACT='emali'" in caplog.text


def test_redactions_together_have_the_rules_of_all() -> None:
    """So a log record is redacted for each plugin of its process."""
    off = Redaction(["none"])
    assert (off | off).rules == ()
    assert (off | Redaction(["ip"], [str.upper])).rules == ("credentials", "ip")
    assert Redaction(["ip"]) | Redaction(["ip"]) == Redaction(["ip"])
    assert repr(off) == "none"
    assert repr(Redaction(["ip"])) == "credentials,ip"
    assert len({Redaction(), Redaction(["credentials"])}) == 1
    assert Redaction() != "credentials"


@pytest.mark.parametrize(
    "text",
    [
        *("a@", "1 ", ":", "://:", "token=", "a.b-", "/", 'password="', "-", "0-", "a:b@", "eyJ"),
        *("pass ", "-----BEGIN PRIVATE KEY-----", "--", "'", "\\", "password: ", "1.", "::1 "),
        *(
            "x" * 64 + "@",
            "cookie:",
            "a" * 32,
            "bearer ",
            "basic aaaa",
            "AKIA",
            '"/',
            "token: token=",
        ),
    ],
)
def test_built_in_rules_are_quick_on_hostile_texts(text: str) -> None:
    """The longest text that is matched takes at most 2.5 s, which is ten times what it took."""
    hostile = (text * 17_408)[:17_408]
    began = time.thread_time()
    _EVERY.whole(hostile)
    assert time.thread_time() - began < 10


def test_text_that_is_too_long_is_cut_before_it_is_matched() -> None:
    """A message of a gigabyte costs what one of two kilobytes costs."""
    seen: list[int] = []
    redaction = Redaction(functions=[lambda text: seen.append(len(text)) or text])
    redaction.head("x" * 2**20, 1024)
    redaction.tail("x" * 2**20, 16_384)
    assert max(seen) <= 16_384 + 1024


def test_corpus_has_secrets_for_each_rule() -> None:
    """None is forgotten."""
    assert {secret.rule for secret in OTHERS} | {"credentials"} == set(EVERY_RULE)
