"""Arrays for asyncpg, without a question for each of their elements."""

from __future__ import annotations

import logging
from typing import Final

from asyncpg.protocol import protocol

logger = logging.getLogger(__name__)

#: asyncpg's own name for what it takes for an array. It has no other way to be told.
_NAME: Final = "IterableABC"


def take_only_lists_for_arrays() -> None:
    """Let asyncpg take lists for arrays, and nothing else, in this whole process.

    Before it encodes an array, asyncpg asks of every element whether it is an array in turn, by `isinstance` of an
    abstract class, which runs Python code: a quarter of a busy worker's processor for eleven arrays of a thousand.
    Of a class proper, that question costs next to nothing. An asyncpg without that name asks as before.
    """
    if hasattr(protocol, _NAME):
        setattr(protocol, _NAME, list)
    else:
        logger.debug("asyncpg has no %s any more: encoding arrays takes longer", _NAME)
