"""Bugs planted in what devices refuse, how they end, and what is left of owners forced out."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

ODIRECT, MODEL, REAL = (
    "owners/odirect/device.py",
    "owners/odirect/model.py",
    "owners/odirect/real.py",
)
DEVICE, BUFFERS = "owners/odirect/simulated.py", "owners/odirect/buffers.py"
RUN, FILE = "owners/odirect/threads.py", "owners/odirect/file.py"
OUT, ARGUMENTS, GUP = "owners/forced_out.py", "owners/arguments.py", "owners/gup/gup.py"

WRONG = "tests/unit/owners/test_wrong_calls.py"
ARGUMENTS_T = "tests/unit/owners/test_arguments.py"
FILE_T = "tests/unit/owners/odirect/test_file.py"
OUT_T = "tests/unit/owners/test_forced_out.py"
LIFE = "tests/races/test_odirect_lifetime.py"

MUTANTS: list[Mutant] = [
    # what is refused
    planted(
        "device-takes-the-name-of-an-op", "refusals", ODIRECT,
        "    instance(who, \"op\", op, Op)\n", "", WRONG,
    ),
    planted(
        "device-takes-half-a-page", "refusals", ARGUMENTS,
        "or not hasattr(value, \"__index__\")", "and not value", WRONG, ARGUMENTS_T,
    ),
    planted(
        "device-without-threads", "refusals", REAL, "nr_threads, least=1)", "nr_threads)",
        f"{WRONG}::test_it_is_refused_before_anything_has_changed[real]",
    ),
    planted(
        "device-waits-for-ever", "refusals", ARGUMENTS, "not 0 <= value < math.inf", "value < 0",
        WRONG, ARGUMENTS_T,
    ),
    planted(
        "device-with-a-policy-by-name", "refusals", DEVICE,
        "        instance(f\"odirect {name!r}\", \"policy\", policy, Policy)\n", "", WRONG,
    ),
    planted(
        "device-closed-takes-a-request", "refusals", REAL,
        "        self._require_open()\n        require_registered", "        require_registered",
        f"{WRONG}::test_it_is_refused_before_anything_has_changed[real, closed, no registry]",
    ),
    planted(
        "gup-drops-those-before-the-wrong-one", "refusals", GUP,
        "        _require_held(pinner, pins)\n", "", WRONG,
    ),
    planted(
        "aio-event-that-does-not-fit", "refusals", "owners/aio/ring_format.py",
        "except struct.error as error:", "except KeyError as error:", WRONG,
    ),
    planted(
        "zram-block-moves-those-behind-it", "refusals", "owners/zram/backing.py",
        "        page = _require_page(page)\n        self.data", "        self.data", WRONG,
    ),
    planted(
        "zram-disk-closed-is-read", "refusals", "owners/zram/disk.py",
        "        if self.closed:\n", "        if self.zram is None:\n", WRONG,
    ),
    # whole requests
    planted(
        "odirect-request-larger-than-a-call", "short I/O", FILE,
        "pages[page : page + IOV_MAX]", "pages[page:]", FILE_T,
    ),
    planted(
        "odirect-short-write-ends-there", "short I/O", FILE,
        "nr % PAGE_SIZE and op is Op.READ", "nr % PAGE_SIZE", FILE_T,
    ),
    planted(
        "odirect-short-call-begins-again", "short I/O", FILE,
        "views, start + done)", "views, start)", FILE_T,
    ),
    planted(
        "odirect-closed-file-keeps-its-number", "fds", FILE,
        "fd, self.fd = self.fd, -1", "fd = self.fd", FILE_T,
    ),
    # how it ends
    planted(
        "odirect-threads-keep-the-device", "leaks", REAL,
        "self._io.start(name, nr_threads)",
        "self._io.start(name, nr_threads)\n            self._io.device = self", LIFE,
    ),
    planted(
        "odirect-dropped-device-goes-on", "leaks", REAL,
        "            threads.stop()\n            warnings", "            warnings", LIFE,
    ),
    planted(
        "odirect-dropped-device-says-nothing", "leaks", REAL,
        "if threads is not None and not threads.is_closing:",
        "if threads is not None:\n            threads.stop()\n        if threads is self:", LIFE,
    ),
    planted(
        "odirect-nobody-closes-the-file", "leaks", RUN,
        "            self._present.discard(number)\n            if not self._present:\n"
        "                self.file.close()\n",
        "            self._present.discard(number)\n", LIFE,
    ),
    planted(
        "odirect-closed-device-stays-registered", "leaks", REAL,
        "            self._retire(self.flights)\n            self._retire(None if",
        "            self._retire(None if", LIFE,
    ),
    planted(
        "odirect-failed-start-stays-registered", "leaks", REAL,
        "            self._retire(self.flights)\n            self._retire(getattr",
        "            self._retire(getattr", LIFE,
    ),
    planted(
        "zram-backing-dropped-stays-open", "leaks", "owners/zram/backing.py",
        "            self.close()\n            warnings", "            warnings", LIFE,
    ),
    planted(
        "odirect-failure-of-a-thread-is-nobodys", "InvariantError", RUN,
        "            raise self._failures.pop(0)\n", "            self._failures.pop(0)\n", LIFE,
    ),
    # forced out
    planted(
        "forced-out-owner-cannot-unpin", "references", OUT,
        "    except (NotPinnedError, OwnerError):  # the first, if it happens at this very moment\n"
        "        if is_registered(registry, owner):\n            raise",
        "    except NotPinnedError:\n        raise", OUT_T, LIFE,
    ),
    planted(
        "forced-out-is-how-every-unpin-fails", "NotPinnedError", OUT,
        "moment\n        if is_registered(registry, owner):\n            raise",
        "moment\n        pass", OUT_T,
    ),
    planted(
        "forced-out-flights-let-pages-move", "R-18", REAL,
        "if len(self._flights) and not is_registered(self._registry, self._flights):",
        "if len(self._flights) < 0:", LIFE,
    ),
    planted(
        "forced-out-request-ends-as-if-it-were-done", "errno", RUN,
        "        except OwnerError:\n            return -errno.ENODEV",
        "        except OwnerError:\n            return 0", LIFE,
    ),
    planted(
        "forced-out-number-stays-in-flight", "D1", RUN,
        "            if verdict is not Verdict.YES:\n                flights.end(number)\n",
        "            if verdict is Verdict.YES:\n                pass\n", LIFE,
    ),
    planted(
        "forced-out-disk-waits-for-a-move", "hang", DEVICE,
        "if request.nr_held and not self.pinner.is_forced_out:", "if request.nr_held:", OUT_T,
    ),
    planted(
        "forced-out-disk-takes-requests", "references", DEVICE,
        "        self.pinner.require_registered()\n", "", OUT_T,
    ),
    planted(
        "forced-out-pinner-leaves-a-reference", "references", GUP,
        "            is_registered = pinner.register(pin_id)\n        finally:\n"
        "            if not is_registered:",
        "            is_registered = pinner.register(pin_id)\n        finally:\n"
        "            if pinner.is_forced_out:\n                pass\n"
        "            elif not is_registered:", OUT_T,
    ),
    planted(
        "forced-out-ring-stays-quiet", "AR3", "owners/aio/rings.py",
        "            if self._source.frames.refcount.item(context.pages[index]) > 0:\n",
        "            if index < 0:\n", OUT_T,
    ),
    planted(
        "forced-out-zspage-leaks", "references", "owners/zsmalloc/pool.py",
        "        verdict = Verdict.AGAIN\n", "        verdict = Verdict.YES\n",
        OUT_T,
    ),
    planted(
        "forced-out-slab-leaks", "references", "owners/slab/cache.py",
        "            if nr_pinned < len(slab.pfns):\n", "            if nr_pinned < 0:\n", OUT_T,
    ),
    planted(
        "forced-out-slab-unpins-what-it-did-not-pin", "references", "owners/slab/cache.py",
        "                self._put_frames(slab, nr_pinned)\n",
        "                self._put_frames(slab, nr_pinned + 1)\n", "tests/races/test_slab.py",
        "tests/unit/owners/slab/test_cache.py",
    ),
    # interrupts
    planted(
        "odirect-interrupted-submit-is-never-told", "interrupts", RUN,
        "        self._tell_all()\n        for request in", "        for request in", LIFE,
    ),
    planted(
        "odirect-told-twice-is-done-twice", "interrupts", RUN,
        "            return self.unclaimed.pop()\n", "            return True\n", LIFE,
    ),
    planted(
        "odirect-reap-forgets-before-it-gives", "interrupts", RUN,
        "        done = self._done[:]\n", "        done, self._done = self._done, []\n"
        "        self._done = []\n", LIFE,
    ),
    planted(
        "odirect-disk-drops-what-was-interrupted", "interrupts", DEVICE,
        "        self._waiting.queued.extend(dropped)\n", "", LIFE,
    ),
    planted(
        "odirect-interrupted-submit-keeps-its-pins", "interrupts", DEVICE,
        "                self._gup.put_user_pages(self.pinner, left)\n",
        "                pass\n", LIFE,
    ),
    planted(
        "odirect-event-is-lost-before-it-happens", "interrupts", "mm/state/costs.py",
        "        self._due.take(interrupts_only=interrupts_only)()\n",
        "        action = self._due.take(interrupts_only=interrupts_only)\n        action()\n",
        LIFE,
    ),
]  # fmt: skip
