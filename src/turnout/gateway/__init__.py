"""The imperative shell: owns the clock, tasks and sockets, and tells the story of a request in one place.

Rules: only this layer sleeps, sends and writes; what to do is decided by pure functions below it.
"""
