"""How the documentation is built: `tox -e docs`."""

project = "otel_queue_plugins"
author = "The otel_queue_plugins authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "otel_queue_plugins"
myst_heading_anchors = 3
