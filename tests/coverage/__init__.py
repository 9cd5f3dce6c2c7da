"""What the default suite runs of the core, and what it must."""
