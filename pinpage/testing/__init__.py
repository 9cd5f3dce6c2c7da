"""What tests of owners, movers and of this package itself need; shipped, so that others can.

Import from the modules: `pinpage.testing.model` is the registry as a plain list.
"""
