"""The house keeps its shape: who may know whom, where keys and collections are named, how long a module may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flashdrop.config import BASE_DIR

APPS = ("flashdrop", "sales", "orders")
MAX_LINES = 300
# Longer ones, each with its reason.
LONGER: dict[str, str] = {
    "orders/placing.py": "one purchase from the request to the ledger, read from top to bottom",
    "sales/board.py": "one snapshot of the stores; what is doubted about them stands in doubts.py",
    "sales/catalogue.py": "all that is asked of the ledger's documents of sales, the archive's questions among it",
    "sales/stock.py": "one function beside each script of the gate",
}

# The one room that builds the gate's keys, and what may say the prefix all the same.
KEY_PREFIX = "flashdrop:"
BUILDS_KEYS = {"sales/keys.py"}
OTHER_PREFIXES = {"flashdrop/ratelimit.py": {"flashdrop:limits"}}
OPENS_COLLECTIONS = {"sales/brakes.py", "sales/catalogue.py", "orders/documents.py"}
# Beside the one that makes the function.
DEFINES_COLLECTION = "flashdrop/mongo_client.py"
READS_ENVIRONMENT = {
    "flashdrop/asgi.py",  # names the settings module
    "flashdrop/config.py",  # the one place
    "flashdrop/embedded/system_packages.py",  # before there are settings
    "flashdrop/run.py",  # makes the environment that the rest reads
    "flashdrop/serve.py",  # hands the metrics directory to its workers
}
# Tools that start the shop's processes and make an environment for them.
STARTS_PROCESSES = tuple(f"flashdrop/{name}/" for name in ("bench", "cluster", "dashboards", "faults", "stress"))


def modules() -> Iterator[str]:
    """Every module of the product, by its path; tests and migrations are not."""
    for app in APPS:
        for path in sorted((BASE_DIR / app).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.parts):
                yield str(path.relative_to(BASE_DIR))


MODULES = list(modules())


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((BASE_DIR / module).read_text(encoding="utf-8"))


def texts(module: str) -> list[str]:
    """String literals, those in f-strings too, docstrings not."""
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def calls_of(module: str, name: str) -> list[int]:
    """The lines that call `name(...)` or `<something>.name(...)`."""
    return [
        node.lineno
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == name)
            or (isinstance(node.func, ast.Attribute) and node.func.attr == name)
        )
    ]


def imports_of(module: str) -> set[str]:
    """What a module imports, with dots: `django.dispatch.receiver`."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def reads_environment(module: str) -> bool:
    """Whether it names `os.environ` or `os.getenv`; the settings are read through environs."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") for node in ast.walk(tree(module))
    )


def length(module: str) -> int:
    return len((BASE_DIR / module).read_text(encoding="utf-8").splitlines())


def speaks_by_its_place(module: str) -> bool:
    path = Path(module)
    return path.name in ("__init__.py", "apps.py") or "commands" in path.parts


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, timeout=120, check=False)


def test_the_walk_sees_the_house() -> None:
    assert {"flashdrop/lean.py", "sales/stock.py", "orders/management/commands/audit_sale.py"} <= set(MODULES)
    assert calls_of("sales/catalogue.py", "collection")
    assert any(text.startswith(KEY_PREFIX) for text in texts("sales/keys.py"))


def test_the_arrows_between_the_rooms_hold() -> None:
    found = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert found.returncode == 0, found.stdout + found.stderr


def test_sales_keys_is_the_one_module_that_builds_keys_of_the_gate() -> None:
    assert {
        module: prefixed
        for module in MODULES
        if module not in BUILDS_KEYS
        and (
            prefixed := {text for text in texts(module) if text.startswith(KEY_PREFIX)}
            - OTHER_PREFIXES.get(module, set())
        )
    } == {}


def test_no_key_is_made_out_of_another() -> None:
    """By an f-string or a sum that begins with one of ours: the walk above does not see these."""
    made = {node.name for node in ast.walk(tree("sales/keys.py")) if isinstance(node, ast.FunctionDef)}
    made |= {target.id for node in ast.walk(tree("sales/keys.py")) for target in assigned(node)}
    assert {"sale_keys", "aside", "shoppers", "WORKER_HEARTBEAT"} <= made
    derived = {
        f"{module}:{node.lineno}"
        for module in MODULES
        if module not in BUILDS_KEYS and "sales.keys" in imports_of(module)
        for node in ast.walk(tree(module))
        if (first := first_part(node)) is not None and {name_of(one) for one in ast.walk(first) if named(one)} & made
    }
    assert derived == set()


def assigned(node: ast.AST) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]


def first_part(node: ast.AST) -> ast.expr | None:
    """What an f-string begins with, when more follows after a colon; what a text is added to."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and is_tail(node.right):
        return node.left
    if isinstance(node, ast.JoinedStr) and len(node.values) > 1 and is_tail(node.values[1]):
        first = node.values[0]
        return first.value if isinstance(first, ast.FormattedValue) else None
    return None


def is_tail(node: ast.expr) -> bool:
    first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    return (
        isinstance(first, ast.Constant)
        and isinstance(first.value, str)
        and first.value.startswith(":")
        and (not first.value.startswith(": "))
    )


def named(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def test_collections_are_opened_where_their_fields_are_known() -> None:
    openers = {module for module in MODULES if calls_of(module, "collection") or calls_of(module, "get_collection")}
    assert openers - {DEFINES_COLLECTION} == OPENS_COLLECTIONS


def test_store_clients_are_made_in_the_plumbing_only() -> None:
    clients = {"redis.Redis", "redis.asyncio.Redis", "pymongo.MongoClient", "pymongo.AsyncMongoClient"}
    users = {module for module in MODULES if imports_of(module) & clients}
    # The stock room takes a client as an argument and names its type.
    assert {module for module in users if not module.startswith("flashdrop/")} == {"sales/stock.py"}
    assert calls_of("sales/stock.py", "Redis") == []


def test_no_signal_carries_the_flow() -> None:
    assert {
        module: signals
        for module in MODULES
        if (
            signals := {name for name in imports_of(module) if name.startswith("django.dispatch") or ".signals" in name}
        )
    }.keys() == {"sales/apps.py"}  # as Django makes its permissions: the roles


def test_the_environment_is_read_in_one_place() -> None:
    found = {module for module in MODULES if reads_environment(module) and not module.startswith(STARTS_PROCESSES)}
    assert found == READS_ENVIRONMENT


def test_modules_are_short() -> None:
    long = {module: lines for module in MODULES if (lines := length(module)) > MAX_LINES}
    assert {module: lines for module, lines in long.items() if module not in LONGER} == {}, "split, or say why not"
    assert set(LONGER) <= set(long), "no longer long"


def test_no_module_is_called_for_having_no_name() -> None:
    nameless = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert [module for module in MODULES if Path(module).stem in nameless] == []


def test_modules_say_what_they_are_for() -> None:
    assert [
        module for module in MODULES if not speaks_by_its_place(module) and not ast.get_docstring(tree(module))
    ] == []


def test_every_model_change_has_its_migration() -> None:
    found = run(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run")
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_column_that_is_added_has_a_value_for_the_version_before() -> None:
    """In an update both versions write rows, and the older one does not name what it does not know."""
    from django.db import migrations
    from django.db.migrations.loader import MigrationLoader
    from django.db.models import NOT_PROVIDED

    loader = MigrationLoader(None)
    added = [
        operation
        for (app, _), migration in loader.disk_migrations.items()
        if app in APPS
        for operation in migration.operations
        if isinstance(operation, migrations.AddField)
    ]
    assert [
        f"{one.model_name}.{one.name}: null=True, or a db_default"
        for one in added
        if not one.field.null and one.field.db_default is NOT_PROVIDED
    ] == []


def test_what_runs_as_long_as_the_process_is_supervised() -> None:
    """A task of its own whose function goes round and round: one exception would end it, and nobody would know."""
    found = {
        f"{module}: {called}"
        for module in MODULES
        if module != "flashdrop/supervised.py" and not module.startswith(STARTS_PROCESSES)
        for called in started_as_tasks(module) & endless(module)
    }
    assert found == set()


def started_as_tasks(module: str) -> set[str]:
    """The functions of which the module makes tasks."""
    return {
        called
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and name_of(node.func) in ("create_task", "ensure_future")
        for argument in node.args[:1]
        if isinstance(argument, ast.Call) and (called := name_of(argument.func))
    }


def endless(module: str) -> set[str]:
    """The functions that loop for ever, or call one of this module that does."""
    functions = {one.name: one for one in ast.walk(tree(module)) if isinstance(one, ast.AsyncFunctionDef)}
    found = {name for name, one in functions.items() if any(loops_for_ever(node) for node in ast.walk(one))}
    while more := {
        name
        for name, one in functions.items()
        if name not in found
        and any(isinstance(node, ast.Call) and name_of(node.func) in found for node in ast.walk(one))
    }:
        found |= more
    return found


def loops_for_ever(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and bool(node.test.value)
        and not any(isinstance(inner, ast.Return | ast.Break) for inner in ast.walk(node))
    )


def name_of(function: ast.AST) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def test_the_walk_sees_an_endless_task() -> None:
    assert "_run" in started_as_tasks("flashdrop/supervised.py") & endless("flashdrop/supervised.py")


def test_the_walk_sees_a_key_made_out_of_another() -> None:
    for text in ('f"{keys.shoppers}:{epoch}"', 'f"{sale_keys(sale_id).sale}:rebuilding"', 'keys.sale + ":x"'):
        assert first_part(ast.parse(text, mode="eval").body) is not None, text
