"""Secrets, each with the text that it stands in, and the part of it that must never leave."""

from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple


class Secret(NamedTuple):
    """The rule that finds it, its text, and the parts of that text that must not leave."""

    rule: str
    text: str
    hidden: tuple[str, ...]


_WORD = "hunter2Zq9x"
_BASIC = b64encode(f"user:{_WORD}".encode()).decode()
_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


def _credential(text: str, *hidden: str) -> Secret:
    return Secret("credentials", text, hidden or (_WORD,))


CREDENTIALS = (
    _credential(f"redis://:{_WORD}@cache.example:6379/0"),
    _credential(f"amqp://shop:{_WORD}@mq.example/%2F"),
    _credential(f"postgresql+psycopg2://shop:p@{_WORD}/x@db.example:5432/shop", _WORD),
    _credential(f"https://{_WORD}@git.example/repo.git"),
    _credential(f"shop:{_WORD}@tcp(db.example)/shop"),
    _credential(f"password={_WORD}"),
    _credential(f"PASSWORD: {_WORD}"),
    _credential(f"db_password = '{_WORD} and more'", _WORD, "and more"),
    _credential(f"{{'password': '{_WORD}', 'user': 'bob'}}"),
    _credential(f'{{"client_secret": "{_WORD}"}}'),
    _credential(f'{{\\"token\\": \\"{_WORD}\\"}}'),
    _credential(f'connect(passwd="a\\"{_WORD}", port=1)'),
    _credential(f"passwd=b'{_WORD} {_WORD}'"),
    _credential(f'password="""{_WORD}"""'),
    _credential(f"SecretBox(password=SecretStr('{_WORD}'))"),
    _credential(f"tokens=1 access_token={_WORD}&refresh_token={_WORD}"),
    _credential(f"token: password: {_WORD}"),
    _credential(f"https://api.example/v1?api_key={_WORD}&page=2"),
    _credential(f"AWS_SECRET_ACCESS_KEY={_WORD}"),
    _credential(f"X-Api-Key: {_WORD}"),
    _credential(f"--password {_WORD}"),
    _credential(f"CREATE ROLE shop IDENTIFIED BY '{_WORD}'"),
    _credential(f"CREATE ROLE shop IDENTIFIED BY \\'{_WORD}\\' \""),
    _credential(f"Authorization: Bearer {_WORD}"),
    _credential(f"authorization=token {_WORD}"),
    _credential(f"'Authorization': 'Basic {_BASIC}'", _BASIC),
    _credential(f"Basic {_BASIC}", _BASIC),
    _credential(f"bearer {_WORD}"),
    _credential(f'Digest username="bob", response="{_WORD}"'),
    _credential(f"Set-Cookie: session={_WORD}; other={_WORD}"),
    _credential(f"JWT {_JWT}", _JWT[:36], _JWT[40:]),
    _credential("key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    _credential("ghp_016C7e9dB1kQmX2pZ4vN8sR5tY6uW3aB9cD0", "016C7e9dB1kQmX2p"),
    _credential("xoxb" + "-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy", "pdFZKVeTuE8sk7oO"),
    _credential("sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc", "4eC39HqLyjWDarjtT1zdp7dc"),
    _credential(
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nq8x9Zk\n-----END RSA PRIVATE KEY-----",
        "MIIEpAIBAAKCAQEA",
        "q8x9Zk",
    ),
)
OTHERS = (
    Secret("email", "jane.doe+tag@mail.example.co.uk", ("jane.doe", "mail.example")),
    Secret("email", "jörg@bücher.example", ("jörg", "bücher")),
    Secret("card", "4111 1111 1111 1111", ("1111 1111", "4111 ")),
    Secret("card", "378282246310005", ("378282246310005", "7828224631")),
    Secret("card", "5555-5555-5555-4444", ("5555-5555", "5555-4444")),
    Secret("ip", "203.0.113.77", ("203.0.113",)),
    Secret("ip", "2001:db8:85a3::8a2e:370:7334", ("2001:db8", "8a2e:370")),
    Secret("path", "/home/jane/secret-plans.txt", ("jane", "secret-plans")),
    Secret("path", "'/home/jane doe/secret plans.txt'", ("jane doe", "plans.txt")),
    Secret("path", r"C:\Users\jane\plans.txt", ("jane", "plans.txt")),
    Secret("uuid", "123e4567-e89b-12d3-a456-426614174000", ("e89b-12d3", "426614174000")),
    Secret("uuid", "123E4567E89B12D3A456426614174000", ("123E4567E89B12D3",)),
)
CORPUS = CREDENTIALS + OTHERS
EVERY_RULE = ("credentials", "email", "card", "ip", "path", "uuid")
