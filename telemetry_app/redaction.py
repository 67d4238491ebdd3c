"""Passwords are kept out of whatever people read."""

import re

# Greedy up to the last @ of the word: an unescaped @ or / inside a password must not let its tail through.
_USERINFO = re.compile(r"(?<=://)([^\s:@/]*):(\S*)@")
_QUERY_SECRET = re.compile(r"([?&][^=&\s\"']*(?:pass(?!file)|pwd|secret|token)[^=&\s\"']*=)[^&\s\"']*", re.IGNORECASE)


def redact_url(url: str) -> str:
    """Return `url`, or any text with URLs in it, with every password replaced by `***`."""
    if "://" not in url:
        return url
    return _QUERY_SECRET.sub(r"\1***", _USERINFO.sub(r"\1:***@", url))
