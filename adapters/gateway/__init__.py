"""HTTP for readers: states, lists, health. It asks the view, never a worker."""
