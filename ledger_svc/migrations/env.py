from svckit import migrate

migrate.run()
