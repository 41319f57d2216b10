"""Brands are found in any case, as menus name them."""

from alembic import op

revision = "0005"
down_revision = "0004"

_INDEX = "CREATE INDEX reward_places_by_brand_folded ON reward_places (program_id, country, lower(brand), reward_id);"


def upgrade() -> None:
    op.execute(_INDEX)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
