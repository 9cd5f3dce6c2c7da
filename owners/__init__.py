"""Who holds pages: one file per kernel user, each written against the owner contract."""
