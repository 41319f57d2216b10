"""A worker in a process of its own, to be killed: `python worker_process.py <database url>`."""

import asyncio
import sys

from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.ssrf import Guard
from fulfillment_svc.webhooks.tests.conftest import KEY
from fulfillment_svc.webhooks.worker import DeliveriesWorker
from svckit.db import Database

asyncio.run(DeliveriesWorker(Database(sys.argv[1]), Sealer.from_base64(KEY), Guard(allow_loopback=True)).run())
