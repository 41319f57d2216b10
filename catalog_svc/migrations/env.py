from catalog_svc.tables import metadata
from svckit import migrate

migrate.run(metadata)
