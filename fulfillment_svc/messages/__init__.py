"""Mail to members that other services ask for; nothing of it is kept."""
