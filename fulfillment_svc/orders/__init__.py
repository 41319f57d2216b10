"""Orders: value that is set aside for a recipient, who claims it as one or more rewards.

The whole value is held in the ledger before an order is answered. `remaining_minor` of its row, changed under the row's
lock only, is what may still be claimed; each claim is a redemption (see `fulfillment_svc.redemptions`) that takes its
part of it, and gives it back if it fails. What is left at the end is voided once no claim is under way.
"""
