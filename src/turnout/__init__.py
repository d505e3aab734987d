"""Turnout: an LLM gateway that knows what each request is for."""

__version__ = "0.1.0"
