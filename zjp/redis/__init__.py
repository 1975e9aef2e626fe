"""Talking to Redis, for the stores that live there.

address.py: what REDIS_ADDR means; sentinels.py: which server is the primary; lane.py: one connection, calls in order and in bounded time;
script.py: the Lua files; packing.py: commands as bytes.
"""
