"""Long processes: how they start, listen, check whose the systems are, are supervised and end."""
