"""The commands that fix data: parked commands, dead letters, offsets, rebuilds, moves to other systems."""
