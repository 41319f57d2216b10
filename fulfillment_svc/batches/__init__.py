"""Batches of orders: items are kept until they are committed, and then each becomes an order by the intake that single
calls have, under a key that no partner can send. So whoever goes on after a crash finds what became of an item."""
