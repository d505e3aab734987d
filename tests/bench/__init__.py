"""Measures what a gateway costs: CPU per request and per streamed chunk, latency, start, memory.

Run as `python -m tests.bench`, or `make bench`. It is a measurement, not a test: nothing here passes or fails on a time.
The method, and how far to trust a figure, stand in docs/performance.md.
"""
