"""Definitions of attributes, the index that finds members by them, and relations that have ended."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_GRANTS)


_TABLES = """
CREATE TABLE past_relations (
    program_id text NOT NULL,
    member_id text NOT NULL,
    past_relation_id uuid NOT NULL,
    type text NOT NULL,
    sealed_value bytea NOT NULL,
    linked_at timestamptz NOT NULL,
    unlinked_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, member_id, past_relation_id)
);
CREATE TABLE attribute_definitions (
    program_id text NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    required boolean NOT NULL,
    "unique" boolean NOT NULL,
    personal_data boolean NOT NULL,
    PRIMARY KEY (program_id, name),
    CONSTRAINT attribute_definitions_type_known CHECK (type IN ('STRING', 'NUMBER', 'BOOLEAN', 'LIST'))
);
CREATE TABLE member_attributes (
    program_id text NOT NULL,
    member_id text NOT NULL,
    name text NOT NULL,
    value_mac bytea NOT NULL,
    "unique" boolean NOT NULL,
    PRIMARY KEY (program_id, member_id, name),
    CONSTRAINT member_attributes_member_exists
        FOREIGN KEY (program_id, member_id) REFERENCES members (program_id, member_id)
);
CREATE INDEX member_attributes_by_value ON member_attributes (program_id, name, value_mac, member_id);
CREATE UNIQUE INDEX member_attributes_unique ON member_attributes (program_id, name, value_mac) WHERE "unique";
"""

_GRANTS = """
GRANT DELETE ON relations TO identity_runtime;
GRANT SELECT, INSERT, DELETE ON past_relations, attribute_definitions TO identity_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON member_attributes TO identity_runtime;
"""
