"""The defects of the pin-page patch of 2013, shown on it and looked for in the registry.

    history       Each defect: shown on the patch as posted, gone where mended, not in the registry
    on_patch      One experiment per defect, on the patch
    on_registry   The same experiments on the registry and its move
    measure       What was objected to in 2013, as figures

May be imported by: cli.
"""
