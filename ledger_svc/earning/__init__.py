"""What events earn."""
