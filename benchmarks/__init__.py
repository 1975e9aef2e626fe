"""Measurements of zjp: the whole path, latency, memory, and the small parts. `python -m benchmarks` runs all and writes a report."""
