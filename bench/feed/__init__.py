"""The way in from the developer's socket, measured."""
