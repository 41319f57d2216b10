"""How a recipient in a country can be paid: what the catalog has and the providers deliver there."""
