"""The keyring of epoch keys, and the seal that locks it."""
