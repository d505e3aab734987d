"""Speaks to the model that runs on this machine as a process of ours: the OpenAI API, at an address only we know.

The gateway starts the process and gives the account its address; without it nothing is sent anywhere.
"""

from __future__ import annotations

from turnout.core.openai_wire import OpenAIProvider

PROVIDER = OpenAIProvider("local", "local://model/v1")
