"""Makes servers that run with `--replSet` one set: begins it, lets it grow, and gives the shop an account of its own.

Safe to repeat. The first host begins a set of one, the others are added one at a time: that is the same path for a new
set of three and for a shop that outgrew a single node, and it asks no server to wait for an election.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

Document = dict[str, Any]
Client = MongoClient[Document]

CONNECT_MS = 2_000
ANSWER_MS = 15_000
PAUSE_SECONDS = 0.25
UNAUTHORIZED, AUTHENTICATION_FAILED = 13, 18
PRIMARY, SECONDARY = 1, 2
DEFAULT_DATABASE = "flashdrop"


class SetUnavailable(Exception):
    """The set can't be made; the text says which server stands in the way, or what is wrong with the password."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who may administer the servers; `None` in its place where they ask for no password."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How the set stands: its primary, and the members that are down or still copy the data."""

    primary: str
    late: tuple[str, ...]


class _NotYet(Exception):
    """Worth another try until the time is up."""


def ensure_set(name: str, hosts: Sequence[str], root: Account | None, seconds: float) -> Standing:
    """Return once each of `hosts` is a member of the set `name` and a majority of the members has the data.

    The rest may be down: a release must not wait for a server that is being mended. `hosts` are the names under which
    the members and every client know each other. The set is begun on the first one, which is where the root account
    must exist; the others must be empty. Members that `hosts` leaves out stay.

    Raises:
        SetUnavailable: not within `seconds`, or the root account is refused.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _step(name, hosts, root)
        except (_NotYet, PyMongoError) as error:
            if isinstance(error, OperationFailure) and error.code in (UNAUTHORIZED, AUTHENTICATION_FAILED):
                raise SetUnavailable(
                    f"MongoDB refuses the administrator's name or password: {_said(error)}. A password is set when the "
                    "volume is first used; a new one in the file changes nothing by itself."
                ) from error
            if time.monotonic() >= deadline:
                raise SetUnavailable(f"The set {name} is not complete after {seconds:.0f} s: {_said(error)}") from error
        time.sleep(PAUSE_SECONDS)


def ensure_user(host: str, root: Account | None, url: str) -> bool:
    """Make sure that whom `url` names can sign in, to read and write its database and watch the set; True if changed.

    Raises:
        SetUnavailable: the account can't be made.
    """
    parsed = parse_uri(url, warn=False)
    user, password = parsed["username"], parsed["password"]
    if root is None or user is None or user == root.user:
        return False
    source = parsed["options"].get("authSource") or parsed["database"] or "admin"
    roles = [
        {"role": "readWrite", "db": parsed["database"] or DEFAULT_DATABASE},
        {"role": "clusterMonitor", "db": "admin"},  # for `manage.py doctor`
    ]
    try:
        if _can_sign_in(host, user, password, source):
            return False
        with _client(host, root) as client:
            known = client[source].command("usersInfo", user)["users"]
            client[source].command("updateUser" if known else "createUser", user, pwd=password, roles=roles)
    except PyMongoError as error:
        raise SetUnavailable(f"The account {user} can't be made: {_said(error)}") from error
    return True


def _step(name: str, hosts: Sequence[str], root: Account | None) -> Standing:
    """One look at the servers and at most one change; how the set stands when nothing is left to do."""
    answers = {host: _hello(host) for host in hosts}
    primary = next((host for host, said in answers.items() if said.get("isWritablePrimary")), None)
    silent = [host for host, said in answers.items() if not said]
    if primary is None:
        if any("setName" in said for said in answers.values()):
            raise _NotYet("none of the servers that answer is the primary")
        if silent:  # it might hold the orders of an older set
            raise _NotYet(f"{', '.join(silent)} does not answer, and no set is begun before all do")
        _begin(name, hosts[0], root)
        raise _NotYet("it was begun and has no primary yet")
    found = answers[primary].get("setName")
    if found != name:
        raise SetUnavailable(f"{primary} belongs to the set {found}, not to {name}.")
    with _client(primary, root) as client:
        _add_next(client, hosts)
        members = client.admin.command("replSetGetStatus")["members"]
    late = tuple(member["name"] for member in members if member["state"] not in (PRIMARY, SECONDARY))
    if 2 * len(late) >= len(members):
        raise _NotYet(f"{', '.join(late)} is down or still copies the data")
    return Standing(primary, late)


def _begin(name: str, host: str, root: Account | None) -> None:
    with _client(host, root) as client:
        client.admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": host}]})


def _add_next(client: Client, hosts: Sequence[str]) -> None:
    """Add one host that the set does not know yet: MongoDB takes one new voter at a time."""
    config = client.admin.command("replSetGetConfig")["config"]
    known = {member["host"] for member in config["members"]}
    missing = [host for host in hosts if host not in known]
    if not missing:
        return
    number = max(member["_id"] for member in config["members"]) + 1
    config["members"].append({"_id": number, "host": missing[0]})
    config["version"] += 1
    client.admin.command("replSetReconfig", config)
    raise _NotYet(f"{missing[0]} was just added")


def _hello(host: str) -> Document:
    """What a server says of itself to anybody; nothing when it does not answer."""
    try:
        with _client(host, None) as client:
            return client.admin.command("hello")
    except PyMongoError:
        return {}


def _can_sign_in(host: str, user: str, password: str | None, source: str) -> bool:
    try:
        with _client(host, Account(user, password or ""), source) as client:
            client[source].command("connectionStatus")
    except OperationFailure as error:
        if error.code == AUTHENTICATION_FAILED:
            return False
        raise
    return True


def _client(host: str, account: Account | None, source: str = "admin") -> Client:
    """A client of this one server, whatever set it belongs to."""
    signed_in: Document = {}
    if account is not None:
        signed_in = {"username": account.user, "password": account.password, "authSource": source}
    return MongoClient(
        f"mongodb://{host}/",
        directConnection=True,
        serverSelectionTimeoutMS=CONNECT_MS,
        connectTimeoutMS=CONNECT_MS,
        socketTimeoutMS=ANSWER_MS,
        **signed_in,
    )


def _said(error: Exception) -> str:
    """The first line of what the driver says; the rest is for those who mend drivers."""
    return str(error).split(", full error:")[0].split(", Timeout:")[0].splitlines()[0]
