"""The reader of the environment for the SDK: variables, and what they name."""

from __future__ import annotations

from pathlib import Path

from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk.config.installed import entry_points_of

SIGNALS = ("traces", "metrics", "logs")


class Environment(Variables):
    """Reads variables, and checks that the files and components they name are there."""

    def file(self, names: tuple[str, ...], *signals: str) -> str | None:
        """The path in the first of `names` that is set; None if unset or not readable."""
        name, value = self.text(*names)
        if not value:
            return None
        try:
            with Path(value).open("rb") as file:
                file.read(1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.reject(
                name, f"no readable file there ({reason}); correct the path or unset it", *signals
            )
            return None
        return value

    def component(
        self, variable: str, group: str, name: str, *signals: str, package: str = ""
    ) -> bool:
        """Whether an installed package has the entry point `name` in `group`.

        `package` is the package to install for it, "" if there is no well-known one.
        """
        if entry_points_of(group, name=name):
            return True
        if package:
            self.reject(variable, f"{name!r} is not installed: pip install {package}", *signals)
            return False
        names = ", ".join(sorted({point.name for point in entry_points_of(group)}))
        self.reject(
            variable, f"{name!r} is not installed or misspelt; there are: {names}", *signals
        )
        return False
