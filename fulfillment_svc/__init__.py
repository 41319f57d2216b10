"""Redemptions as sagas, the providers that issue rewards, and the webhooks that tell partners."""
