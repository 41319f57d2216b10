"""What credentials may spend in a day, and what they are told of it."""
