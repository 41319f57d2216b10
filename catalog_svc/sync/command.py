"""An operator's command: `python -m catalog_svc sync --program-id acme --provider sandbox`.

It begins a synchronisation of the running mesh at its door (REWARDS_GRPC, with REWARDS_ADMIN_TOKEN as the operator's
key), waits for its end, and prints what came of it as JSON. The exit code is 1 if nothing was applied.
"""

import argparse
import asyncio
import json
import sys
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToDict
from rewards.catalog.v1 import sync_pb2 as pb
from rewards.catalog.v1.sync_pb2_grpc import SyncServiceStub

from svckit.clients import door
from svckit.config import required

_TIMEOUT_S: Final = 10.0
_PAUSE_S: Final = 0.5
_PAGE: Final = 500


def add_to(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to a parser's."""
    parser = parsers.add_parser("sync", help="bring a program's catalog in line with a provider's feed")
    parser.add_argument("--program-id", required=True)
    parser.add_argument("--provider", required=True, help="by the name that the service was told its feed under")
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    parser.add_argument("--force", action="store_true", help="apply a feed also if it lacks much of what is sold")


async def run(asked: argparse.Namespace) -> int:
    """Runs a synchronisation and prints its report; the exit code."""
    metadata = (("authorization", f"Bearer {required('REWARDS_ADMIN_TOKEN')}"),)
    try:
        async with door() as channel:
            stub: Any = SyncServiceStub(channel)
            report = await _report(stub, metadata, asked)
    except grpc.aio.AioRpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)  # noqa: T201 - told to who typed it
        return 1
    print(json.dumps(report, indent=2, ensure_ascii=False))  # noqa: T201 - the command's whole output
    return 0 if report["sync"]["state"] == "DONE" else 1


async def _report(stub: Any, metadata: tuple[tuple[str, str], ...], asked: argparse.Namespace) -> dict[str, Any]:
    start = pb.StartSyncRequest(
        program_id=asked.program_id, provider=asked.provider, dry_run=asked.dry_run, force=asked.force
    )
    sync = (await stub.StartSync(start, timeout=_TIMEOUT_S, metadata=metadata)).sync
    of = {"program_id": asked.program_id, "sync_id": sync.sync_id}
    while sync.state == pb.Sync.RUNNING:
        await asyncio.sleep(_PAUSE_S)
        sync = (await stub.GetSync(pb.GetSyncRequest(**of), timeout=_TIMEOUT_S, metadata=metadata)).sync
    changes, page = [], pb.ListSyncChangesRequest(page_size=_PAGE, **of)
    while True:
        answer = await stub.ListSyncChanges(page, timeout=_TIMEOUT_S, metadata=metadata)
        changes += [MessageToDict(change) for change in answer.changes]
        if not answer.next_page_token:
            return {"sync": MessageToDict(sync, always_print_fields_with_no_presence=True), "changes": changes}
        page.page_token = answer.next_page_token
