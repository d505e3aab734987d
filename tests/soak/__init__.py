"""The soak: half an hour of mixed load and faults on a gateway in its own process, and what it has left behind then.

`make soak`, or `python -m tests.soak --minutes 2 --seed 7 --json`.
"""
