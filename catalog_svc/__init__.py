"""What can be had for points: rewards, where they are sold, what they cost, and how much there is of what is limited.

Every version of a reward is kept as it was stored, so that an order keeps what it was quoted (G25, G73). `stock` keeps
reservations, `sync` follows providers' feeds. Asks no other service: the programs' rates are a copy that identity_svc
pushes.
"""
