"""The servers that hold the ledger: whether an acknowledged order survives the loss of one of them."""

from __future__ import annotations

from typing import Any

from pymongo.errors import ExecutionTimeout, OperationFailure, WriteConcernError

from flashdrop.mongo_client import Document, database, members_say, mongo
from orders import ledger
from orders.doctor.finding import Area, Finding, Notes
from orders.doctor.versions import MONGODB, judge_version

ENOUGH_MEMBERS = 3
INITIATE = "`mongosh --eval 'rs.initiate()'`"
THREE = "run three members that hold data, each on a machine of its own; docs/how-to/high-availability.md"


async def hello() -> Document:
    """What the server that we would write to says of itself.

    Raises:
        pymongo.errors.PyMongoError: there is none; `why_no_primary` then tells more.
    """
    return await mongo().admin.command("hello")


async def why_no_primary(url: str, error: Exception) -> Finding:
    """The one finding about a ledger that can't be written, after `error`.

    Raises:
        pymongo.errors.PyMongoError: the address can't be understood.
    """
    notes = Notes(Area.MONGODB)
    said = await members_say(url)
    answering = {address: hello for address, hello in said.items() if isinstance(hello, dict)}
    if isinstance(error, OperationFailure):
        notes.at_risk(
            "refused",
            f"{', '.join(said)} refuses us: {_short(error)}; no order can be confirmed (promise 3)",
            "see the user and the password in MONGODB_URL, and that the user may readWrite the database it names",
        )
    elif not answering:
        notes.at_risk(
            "no answer",
            f"{', '.join(said)} does not answer: orders stay 202, being confirmed (promise 4). Nothing else of "
            "MongoDB, the indexes and the sales was checked",
            f"start mongod, or correct MONGODB_URL; the driver says: {_short(error)}",
        )
    elif any(_is_alone(hello) for hello in answering.values()):
        _standalone(", ".join(address for address, hello in answering.items() if _is_alone(hello)), notes)
    elif any(hello.get("isreplicaset") for hello in answering.values()):
        notes.at_risk(
            "no primary",
            f"{', '.join(answering)} was started with --replSet, but the set was never initiated: nothing can be "
            "confirmed (promise 3)",
            f"on one member: {INITIATE}",
        )
    else:
        names = {str(hello.get("setName")) for hello in answering.values()}
        notes.at_risk(
            "no primary",
            f"{', '.join(answering)} of set {', '.join(sorted(names))} answers, but we find no primary: orders stay "
            f"202, being confirmed (promise 4). {_short(error)}",
            "start the members that are down until a majority of `rs.status()` is up; see that replicaSet= in "
            "MONGODB_URL is the set's name",
        )
    return notes.findings[0]


async def check_ledger(hello: Document) -> list[Finding]:
    """Everything about the server that answered `hello`, and the set it is in.

    Raises:
        pymongo.errors.PyMongoError: it stopped answering.
    """
    notes = Notes(Area.MONGODB)
    await _server(notes)
    if _is_alone(hello):
        _standalone("the server", notes)
    elif hello.get("msg") == "isdbgrid":
        notes.advice(
            "replica set", "can't be checked through mongos", "run the doctor against each shard's replica set too"
        )
    elif not hello.get("isWritablePrimary"):
        notes.at_risk(
            "no primary",
            f"{hello.get('me', 'the server')} is not one, and MONGODB_URL names no other: no order can be confirmed "
            "(promise 3)",
            "take directConnection out of MONGODB_URL and name all members: mongodb://a,b,c/flashdrop?replicaSet=rs0",
        )
        return notes.findings
    else:
        await _replica_set(hello, notes)
    _write_concern(notes)
    await _reads_and_writes(notes)
    return notes.findings


def _is_alone(hello: Document) -> bool:
    return "setName" not in hello and "isreplicaset" not in hello and hello.get("msg") != "isdbgrid"


def _standalone(what: str, notes: Notes) -> None:
    notes.at_risk(
        "replica set",
        f"{what} is a standalone: it takes no retryable writes and has no majority, so no order can be confirmed "
        "(promise 3)",
        f"start mongod with --replSet rs0, then {INITIATE}, and add ?replicaSet=rs0 to MONGODB_URL; one node is enough",
    )


async def _server(notes: Notes) -> None:
    judge_version(MONGODB, str((await mongo().admin.command("buildInfo")).get("version", "")), notes)
    status = await _asked("serverStatus", "storage engine", notes)
    if status is None:
        return None
    engine = status.get("storageEngine", {})
    if not engine:
        return None  # mongos holds no data
    if engine.get("name") == "wiredTiger" and engine.get("persistent", True):
        return notes.ok("storage engine", "wiredTiger")
    return notes.at_risk(
        "storage engine",
        f"{engine.get('name')}: a restart loses every order (promise 3: confirmed means durable)",
        "start mongod with --storageEngine wiredTiger on a --dbpath of its own, and restore the orders from a backup",
    )


async def _replica_set(hello: Document, notes: Notes) -> None:
    if mongo().options.direct_connection:
        notes.advice(
            "directConnection",
            f"only {hello.get('me')} is asked, whoever is the primary: after a failover nothing is confirmed",
            "take directConnection out of MONGODB_URL and name all members: mongodb://a,b,c/flashdrop?replicaSet=rs0",
        )
    data, arbiters = hello.get("hosts", []) + hello.get("passives", []), hello.get("arbiters", [])
    found = f"{hello['setName']}: {len(data)} of its members hold data"
    if len(data) < ENOUGH_MEMBERS:
        notes.advice("members", f"{found}: the loss of one stops confirmations until it is back", THREE)
    else:
        notes.ok("members", found)
    if arbiters:
        notes.advice(
            "arbiters",
            f"{', '.join(arbiters)}: counts as a member but holds no order, so one lost data member leaves no majority "
            "that can acknowledge",
            f'`rs.remove("{arbiters[0]}")`, and {THREE}',
        )
    config = await _asked("replSetGetConfig", "journal of majorities", notes)
    if config is not None:
        _journaled(config["config"], notes)
    status = await _asked("replSetGetStatus", "members' health", notes)
    if status is not None:
        _health(status["members"], notes)


def _journaled(config: Document, notes: Notes) -> None:
    if config.get("writeConcernMajorityJournalDefault", True):
        return notes.ok("journal of majorities", "writeConcernMajorityJournalDefault is on")
    return notes.at_risk(
        "journal of majorities",
        "writeConcernMajorityJournalDefault is false: a majority may answer with an order that is in no journal, and a "
        "retry be told of one that a power loss takes (promises 3 and 5)",
        "`cfg = rs.conf(); cfg.writeConcernMajorityJournalDefault = true; rs.reconfig(cfg)` in mongosh",
    )


def _health(members: list[Document], notes: Notes) -> None:
    down = [str(member["name"]) for member in members if not member.get("health")]
    if down:
        return notes.advice(
            "members' health",
            f"{', '.join(down)} is down: one loss more may leave no majority",
            f"start mongod on {', '.join(down)}; `rs.status()` says why it left",
        )
    return notes.ok("members' health", f"{len(members)} of {len(members)} are up")


def _write_concern(notes: Notes) -> None:
    concern, retries = database().write_concern.document, mongo().options.retry_writes
    if concern.get("w") == "majority" and concern.get("j") is True and retries:
        return notes.ok("write concern", "majority, journaled, writes are retried")
    return notes.at_risk(
        "write concern",
        f"{concern}, retryWrites {retries}: an order may be confirmed that a failover takes (promise 3)",
        "take w, j and retryWrites out of MONGODB_URL; flashdrop/mongo_client.py sets them",
    )


async def _reads_and_writes(notes: Notes) -> None:
    try:
        await ledger.try_reading_and_writing()
    except (WriteConcernError, ExecutionTimeout) as error:
        return notes.at_risk(
            "reads and writes",
            f"no majority acknowledged a write in time ({_short(error)}): orders stay 202, being confirmed (promise 4)",
            "start the members that are down; `rs.status()` shows them",
        )
    except OperationFailure as error:
        return notes.at_risk(
            "reads and writes",
            f"refused: {_short(error)}; no order can be confirmed (promise 3)",
            '`db.grantRolesToUser("<the shop\'s user>", ["readWrite"])` on the database that MONGODB_URL names; for '
            "anything but a missing right, mongod's log has more",
        )
    return notes.ok("reads and writes", "acknowledged by a majority, nothing left behind")


async def _asked(command: str, name: str, notes: Notes) -> dict[str, Any] | None:
    """The answer to an operator's command; None, with a note of it, when we may not ask."""
    try:
        return await mongo().admin.command(command)
    except OperationFailure as error:
        notes.advice(
            name,
            f"can't be checked: {command} is not permitted ({_short(error)})",
            '`db.grantRolesToUser("<the shop\'s user>", [{role: "clusterMonitor", db: "admin"}])`, or ask your host',
        )
        return None


def _short(error: Exception) -> str:
    """What the driver says, without what it says for those who mend drivers."""
    text = str(error)
    for start in (", full error:", ", Timeout:", " (configured timeouts:"):
        text = text.split(start, maxsplit=1)[0]
    return text[:200]
