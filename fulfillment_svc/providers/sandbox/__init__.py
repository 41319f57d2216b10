"""A provider for building and testing: a process of its own whose journal is the outside truth of what was
issued, with faults that can be switched on per order.

`POST /orders` and `GET /orders?reference=` are the provider's contract (see `over_http`): an order is known
by its reference and never issued twice. `PUT /faults` and `DELETE /faults` switch faults, `GET /journal`
shows everything that was ever decided, `GET /catalog` is its feed, `GET /healthz` says that it serves.
"""
