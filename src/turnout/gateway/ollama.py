"""Decides whether a local Ollama is there: asked once at start, when there is no config to say so."""

from __future__ import annotations

import http.client

ADDRESS = ("127.0.0.1", 11434)
PATIENCE_S = 0.2
"""A local server that is there answers in a millisecond; one that is not must not hold the start."""


def is_answering(address: tuple[str, int] = ADDRESS) -> bool:
    """Return whether an Ollama answers there, by default on its usual port. At most about 0.2 s; never raises."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/api/version")
        return b"version" in connection.getresponse().read(1024)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
