"""What the rooms of orders and claims share."""

from typing import NamedTuple

from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.menus import Menus
from fulfillment_svc.orders.starting import Starting


class Parts(NamedTuple):
    """What may be chosen, how a claim begins, and who it is for."""

    menus: Menus
    starting: Starting
    invitations: Invitations
