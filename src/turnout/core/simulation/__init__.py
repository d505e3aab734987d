"""A world of simulated vendors: what a request gets, when, and how it goes wrong. Pure; two executors play its scripts."""
