"""Real threads, each doing one thing again and again for so long; and what one of them raised."""

import random
import sys
import threading
import time

__all__ = ["run_together"]


def run_together(steps, seeds, seconds, *, switch_interval_s):
    """Call each step with a random generator of its own, in its own thread, until the time is over.

    Args:
        steps: what each thread does.
        seeds: of their generators.
        seconds: for how long; less if one raises.
        switch_interval_s: how often CPython lets another thread in.

    Returns:
        How many steps each thread has made.

    Raises:
        BaseException: the first that a step raised.
    """
    errors, nr_steps, is_over = [], [0] * len(steps), threading.Event()

    def work(number, step, rng):
        try:
            while not is_over.is_set():
                step(rng)
                nr_steps[number] += 1
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(number, step, random.Random(seed)), daemon=True)
        for number, (step, seed) in enumerate(zip(steps, seeds, strict=True))
    ]
    interval, until = sys.getswitchinterval(), time.monotonic() + seconds
    sys.setswitchinterval(switch_interval_s)
    try:
        for thread in threads:
            thread.start()
        while time.monotonic() < until and not errors:
            time.sleep(0.05)
    finally:
        is_over.set()
        for thread in threads:
            thread.join(timeout=30)
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in threads), "somebody hangs"
    if errors:
        raise errors[0]
    return nr_steps
