"""What the newest client's own live checks expect of a hub, in our words: run by that client's Python, no pytest needed."""
