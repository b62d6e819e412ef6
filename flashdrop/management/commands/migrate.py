from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Any number that nothing else in this database locks.
LOCK = 0x666C6173_6864726F


class Command(migrate.Command):
    help = f"{migrate.Command.help} On PostgreSQL one process at a time: any number may be started at once."

    def handle(self, *args: Any, **options: Any) -> None:
        with self._alone(connections[options["database"]]):
            super().handle(*args, **options)

    @contextmanager
    def _alone(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Hold a lock of the server's, on a connection of its own: it is given up when this process ends, however."""
        if connection.vendor != "postgresql":
            yield
            return
        own = connection.copy()
        try:
            with own.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
                if not cursor.fetchone()[0]:
                    self.stdout.write("Another process migrates this database; waiting for it.")
                    cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            yield
        finally:
            own.close()
