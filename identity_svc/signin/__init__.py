"""How members show who they are: passwords, one-time codes, and tokens of their own."""
