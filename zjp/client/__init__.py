"""The ZeroMQ door that producers import."""
