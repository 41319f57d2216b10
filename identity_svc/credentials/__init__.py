"""Plans, OAuth clients, API keys and the access tokens that clients get for their secret."""
