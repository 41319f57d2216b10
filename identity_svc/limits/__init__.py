"""What credentials and addresses may spend in a second and in a day, and what they are told of it.

Buckets of the second are in Redis, so that all processes count together. Each also keeps its own count, which always
binds: without Redis a limit is per process, and never gone. Quotas of the day are in the database, and spent in parts.
"""
