"""What may stand behind the `?` of a connection string, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Handling(Enum):
    """What becomes of an option."""

    PASSED_ON = "honoured"
    """By the client library, which knows it."""
    TRANSLATED = "honoured, here"
    """By this service, since the client library does not know it."""
    LEFT_OUT = "left out"
    """It changes nothing that is stored or who may read it, or cannot be done."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        handling: What becomes of it.
        why: How, or why not.
        values: What it may be; anything when empty.
        is_number: Whether it has to be a whole number.
        is_file: Whether it names a file, which has to be there.
    """

    handling: Handling
    why: str
    values: tuple[str, ...] = ()
    is_number: bool = False
    is_file: bool = False


_TLS_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def _passed_on(why: str, *values: str, is_file: bool = False) -> Option:
    return Option(Handling.PASSED_ON, why, values, is_file=is_file)


def _translated(why: str, *values: str, is_number: bool = False) -> Option:
    return Option(Handling.TRANSLATED, why, values, is_number=is_number)


def _left_out(why: str, *values: str) -> Option:
    return Option(Handling.LEFT_OUT, why, values)


_KEEPALIVE: Final = _left_out(
    "a connection that does not answer is dropped by the worker's own limits, an idle one closed"
)
_PRISMA_POOL: Final = _left_out("Prisma's pool; ours is `POSTGRES_POOL_SIZE`")
_TAG: Final = _left_out("a mark of the cloud's own")

#: Whatever is not here is refused: the server would take it for a setting of its own and refuse every connection.
OPTIONS: Final[dict[str, Option]] = {
    "host": _translated("replaces the host of the address; several with commas; a folder is a unix socket"),
    "port": _translated("the port, or one for each host"),
    "user": _translated("replaces the user of the address"),
    "password": _translated("replaces the password of the address"),
    "dbname": _translated("replaces the database of the address"),
    "database": _translated("the same"),
    "passfile": _passed_on("where the password is, when the address has none", is_file=True),
    "service": _passed_on("a section of the service file"),
    "target_session_attrs": _passed_on(
        "of several hosts the first of this kind; `read-write` follows a failover",
        "any", "read-write", "read-only", "primary", "standby", "prefer-standby",
    ),
    "sslmode": _passed_on("whether and how TLS is used", *_SSL_MODES),
    "ssl": _translated("`true` is `sslmode=require`, unless there is an `sslmode`", "true", "false"),
    "sslrootcert": _passed_on("certificates of authorities; `system` takes the system's own", is_file=True),
    "sslcert": _passed_on("the client's certificate", is_file=True),
    "sslkey": _passed_on("the key of `sslcert`", is_file=True),
    "sslpassword": _passed_on("of `sslkey`"),
    "sslcrl": _passed_on("revoked certificates", is_file=True),
    "sslnegotiation": _passed_on("`direct` begins with TLS", "postgres", "direct"),
    "ssl_min_protocol_version": _passed_on("the least version of TLS", *_TLS_VERSIONS),
    "ssl_max_protocol_version": _passed_on("the greatest version of TLS", *_TLS_VERSIONS),
    "krbsrvname": _passed_on("name of the Kerberos service"),
    "gsslib": _passed_on("the library for GSSAPI", "gssapi", "sspi"),
    "application_name": _translated("how the sessions are called, instead of `telemetry-processor`"),
    "connect_timeout": _translated("seconds for each attempt to connect; 0 = the worker's own", is_number=True),
    "options": _translated(
        "`-c name=value` for `search_path`, `role`, `synchronous_commit`, `lock_timeout` and `work_mem`, "
        "set in each session or transaction; words without a dash are for a cloud's proxy and sent to it"
    ),
    "schema": _translated("Prisma's word for `search_path`"),
    "search_path": _translated("set in each session or transaction"),
    "pgbouncer": _translated("`true` is `POSTGRES_POOLER=transaction`, unless that is set", "true", "false"),
    "channel_binding": _left_out("the client library has none; TLS and SCRAM remain", "disable", "prefer", "require"),
    "gssencmode": _left_out("there is no encryption by GSSAPI", "disable", "prefer"),
    "gssdelegation": _left_out("no credentials are delegated", "0"),
    "sslcompression": _left_out("TLS is never compressed", "0", "1"),
    "sslsni": _left_out("the host's name is always sent", "0", "1"),
    "client_encoding": _left_out("it is always UTF-8"),
    "fallback_application_name": _left_out("there is always an `application_name`"),
    "load_balance_hosts": _left_out("hosts are tried in order", "disable", "random"),
    "keepalives": _KEEPALIVE,
    "keepalives_idle": _KEEPALIVE,
    "keepalives_interval": _KEEPALIVE,
    "keepalives_count": _KEEPALIVE,
    "tcp_user_timeout": _KEEPALIVE,
    "connection_limit": _PRISMA_POOL,
    "pool_timeout": _PRISMA_POOL,
    "socket_timeout": _left_out("Prisma's; the worker limits its statements itself"),
    "statement_cache_size": _left_out("statements are kept or not as `POSTGRES_POOLER` says"),
    "sslaccept": _left_out("Prisma's; `sslmode` says it", "strict", "accept_invalid_certs"),
    "uselibpqcompat": _left_out("node-postgres'; `sslmode` always means what libpq means", "true", "false"),
    "supa": _TAG,
    "workaround": _TAG,
}  # fmt: skip

#: What `options=-c name=value` may set. The worker sets `jit` and `statement_timeout` itself.
SESSION_SETTINGS: Final = ("search_path", "role", "synchronous_commit", "lock_timeout", "work_mem")
#: Set by the worker, whatever `options` says.
OWN_SETTINGS: Final = ("jit", "statement_timeout")
