"""Programs, the tenants, and their settings."""
