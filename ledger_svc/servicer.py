"""The services that are put together from several rooms."""

from rewards.ledger.v1.funding_pb2_grpc import FundingServiceServicer
from rewards.ledger.v1.points_pb2_grpc import PointsServiceServicer

from ledger_svc.earning.servicer import EarningRpcs
from ledger_svc.journal.funding import FundingRpcs
from ledger_svc.journal.servicer import RedemptionRpcs
from ledger_svc.statements.funding import FundingStatementRpcs
from ledger_svc.statements.servicer import StatementRpcs


class PointsServicer(RedemptionRpcs, StatementRpcs, EarningRpcs, PointsServiceServicer):
    """Members' points as partners see them."""


class FundingServicer(FundingRpcs, FundingStatementRpcs, FundingServiceServicer):
    """A program's prepaid funding."""
