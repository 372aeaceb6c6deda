"""Records as commands show them: read, decoded, masked."""
