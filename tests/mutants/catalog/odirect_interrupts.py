"""What two interrupts of a device's calls leave half done."""

from tests.mutants.mutant import planted

MUTANTS = [
    planted(
        "odirect-queued-and-at-the-device",
        "OD1",
        "owners/odirect/simulated.py",
        "            request.frames = None\n        self._waiting.queued.extend(dropped)\n",
        "            pass\n        self._waiting.queued.extend(dropped)\n"
        "        for request in dropped:\n            request.frames = None\n",
        "tests/races/test_two_interrupts_of_a_device.py",
    ),
]
