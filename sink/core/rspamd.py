"""Tells rspamd's task line again, with pseudonyms [rspamd src/libserver/protocol.c]."""

from sink.core.masks import Masks


def told(masks: Masks, text: bytes) -> bytes | None:
    """Return a text behind rspamd's tag, told again; None where it is not known."""
    return None
