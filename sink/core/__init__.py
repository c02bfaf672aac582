"""The pure core: bytes in, rows out; no file, socket, clock, log or global state."""
