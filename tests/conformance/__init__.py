"""The owner kit against every owner there is, and against owners that break their promises."""
