"""The commands that show the past: timelines, replays, states."""
