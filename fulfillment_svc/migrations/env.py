import fulfillment_svc.redemptions.tables
import fulfillment_svc.review.tables
import fulfillment_svc.webhooks.tables  # noqa: F401 - imported to register their tables
from fulfillment_svc.tables import metadata
from svckit import migrate

migrate.run(metadata)
