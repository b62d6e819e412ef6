from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from pymongo.uri_parser import parse_uri

from flashdrop.config import config
from flashdrop.replica_set import Account, SetUnavailable, ensure_set, ensure_user


class Command(BaseCommand):
    help = (
        "Make the MongoDB servers one replica set, add hosts that it lacks, and create the account of MONGODB_URL. "
        "Safe to repeat. Hosts are those of MONGODB_URL unless named."
    )
    requires_system_checks = []  # it runs before the stores can be used

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("hosts", nargs="*", metavar="HOST:PORT", help="as members and clients know each other")
        parser.add_argument("--root-user", default="root")
        parser.add_argument("--root-password-file", type=Path, help="needed where the servers ask for a password")
        parser.add_argument("--wait", type=float, default=120.0, metavar="SECONDS")

    def handle(
        self, *args: Any, hosts: list[str], root_user: str, root_password_file: Path | None, **options: Any
    ) -> None:
        name, members = members_of(config.mongodb_url, hosts)
        root = self._root(root_user, root_password_file)
        try:
            standing = ensure_set(name, members, root, options["wait"])
            changed = ensure_user(standing.primary, root, config.mongodb_url)
        except SetUnavailable as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"The set {name} stands: {', '.join(members)}; {standing.primary} is the primary.")
        if standing.late:
            self.stdout.write(f"Down, or still copying the data: {', '.join(standing.late)}.")
        if changed:
            self.stdout.write("The account of MONGODB_URL was created, or given its password.")

    def _root(self, user: str, password_file: Path | None) -> Account | None:
        if password_file is None:
            return None
        try:
            password = password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CommandError(f"{password_file} can't be read: {error.strerror}.") from error
        if not password:
            raise CommandError(f"{password_file} is empty.")
        return Account(user, password)


def members_of(url: str, hosts: Sequence[str]) -> tuple[str, list[str]]:
    """The set's name, and its hosts: those named, else those of the address.

    Raises:
        CommandError: the address does not name the set.
    """
    parsed = parse_uri(url, warn=False)
    name = parsed["options"].get("replicaSet")
    if not name:
        raise CommandError("MONGODB_URL does not name the set: end it with ?replicaSet=rs0.")
    return name, list(hosts) or [f"{host}:{port}" for host, port in parsed["nodelist"]]
