"""Tells dovecot's log-in and lmtp lines again, with pseudonyms [dovecot src/login-common, src/lmtp, lib-lda]."""

from sink.core.masks import Masks


def told(masks: Masks, text: bytes) -> bytes | None:
    """Return a text behind dovecot's tag, told again; None where it is not known."""
    return None
