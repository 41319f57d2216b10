"""Rules of the house about code: sizes, and which way imports point."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("identity_svc", "ledger_svc", "catalog_svc", "fulfillment_svc")
PACKAGES = (*SERVICES, "gateway", "svckit", "devmesh")
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 60
SVCKIT_LINES_MAX = 1_500
# Beside its own package, what each may import of ours. devmesh starts everything and so knows the gateway's settings.
ALLOWED = {service: {"svckit"} for service in SERVICES} | {
    "gateway": {"svckit"},
    "svckit": set(),
    "devmesh": {"svckit", "gateway"},
}
PURE = ("rules.py", "account.py", "values.py", "book.py", "postings.py", "holdings.py", "undoings.py")
IMPURE = ("sqlalchemy", "grpc", "aiohttp", "redis", "time", "random", "asyncio")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["/usr/bin/env", "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split() if (ROOT / name).exists()]


def production(package: str) -> list[Path]:
    return [path for path in tracked() if path.is_relative_to(ROOT / package) and "tests" not in path.parts]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_no_file_is_longer_than_its_budget() -> None:
    long = {str(p.relative_to(ROOT)): n for p in tracked() if (n := len(p.read_text().splitlines())) > FILE_LINES_MAX}
    assert long == {}


def test_no_function_is_longer_than_its_budget() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in tracked()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_svckit_stays_small() -> None:
    assert sum(len(path.read_text().splitlines()) for path in production("svckit")) <= SVCKIT_LINES_MAX


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    files = production(package)
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imports(path)
        if (top := name.split(".")[0]) in PACKAGES and top != package and top not in ALLOWED[package]
    ]
    assert wrong == []


def test_rules_are_pure() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for service in SERVICES
        for path in production(service)
        if path.name in PURE
        for name in imports(path)
        if name.split(".")[0] in IMPURE or name.endswith(("_grpc", ".store", ".wire", ".tables"))
    ]
    assert wrong == []


def test_sql_stands_in_stores_only() -> None:
    allowed = {"tables.py", "env.py"}
    wrong = [
        str(path.relative_to(ROOT))
        for service in SERVICES
        for path in production(service)
        if path.name not in allowed
        and not path.stem.endswith("store")
        and "migrations" not in path.parts
        and any(name.split(".")[0] in {"sqlalchemy", "psycopg"} for name in imports(path))
    ]
    assert wrong == []


def test_every_make_target_says_what_it_does() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    targets = [line for line in lines if line[:1].isalpha() and ":" in line and "=" not in line.split(":")[0]]
    targets = [line for line in targets if "=" not in line.split("##")[0]]
    assert [line for line in targets if "##" not in line] == []
