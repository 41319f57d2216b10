"""Synchronisations as protobuf."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.catalog.v1 import sync_pb2 as pb

from catalog_svc.sync.rules import Change
from catalog_svc.sync.store import Sync


def message(sync: Sync) -> pb.Sync:
    """A synchronisation as operators see it."""
    return pb.Sync(
        sync_id=str(sync.sync_id),
        provider=sync.provider,
        state=pb.Sync.State.Value(sync.state),
        dry_run=sync.dry_run,
        force=sync.force,
        reason=sync.reason,
        added=sync.added,
        changed=sync.changed,
        withdrawn=sync.withdrawn,
        rejected=sync.rejected,
        unchanged=sync.unchanged,
        started_at=_stamp(sync.started_at),
        ended_at=None if sync.ended_at is None else _stamp(sync.ended_at),
    )


def change(one: Change) -> pb.SyncChange:
    """What was done with one reward."""
    action = pb.SyncChange.Action.Value(one.action)
    return pb.SyncChange(reward_id=one.reward_id, action=action, fields=one.fields, reason=one.reason)


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
