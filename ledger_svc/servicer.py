"""PointsService, put together from its rooms."""

from rewards.ledger.v1.points_pb2_grpc import PointsServiceServicer

from ledger_svc.earning.servicer import EarningRpcs
from ledger_svc.journal.servicer import RedemptionRpcs
from ledger_svc.statements.servicer import StatementRpcs


class PointsServicer(RedemptionRpcs, StatementRpcs, EarningRpcs, PointsServiceServicer):
    """Members' points as partners see them."""
