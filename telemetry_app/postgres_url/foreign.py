"""What the client library would take from the environment, and we do not."""

from __future__ import annotations

import logging
import os
from typing import Final

logger = logging.getLogger(__name__)

#: Read by PostgreSQL's own programs, and by the client library wherever a connection string leaves something open.
#: PGPASSFILE and PGSERVICEFILE stay: they only say where files are that a connection string may count on.
_VARIABLES: Final = (
    "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE", "PGOPTIONS", "PGTARGETSESSIONATTRS",
    "PGSSLMODE", "PGSSLNEGOTIATION", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCERT", "PGSSLKEY",
    "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGKRBSRVNAME", "PGGSSLIB",
)  # fmt: skip


def leave_out_foreign_variables() -> None:
    """Remove them from this process, and say so: they are meant for others, such as a `psql` beside us."""
    if found := [name for name in _VARIABLES if os.environ.pop(name, None) is not None]:
        logger.warning("%s: left out, since only POSTGRES_URL says where the database is", ", ".join(found))
