"""Speaks to the simulated vendor: the OpenAI API, answered inside this process unless the account has an address.

`turnout simulate --port 9100` serves the same as a server of its own.
"""

from __future__ import annotations

from turnout.core.openai_wire import OpenAIProvider

PROVIDER = OpenAIProvider("simulated", "simulated://world/v1")
