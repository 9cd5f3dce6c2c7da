"""The stateful machines, for as many steps as one likes."""
