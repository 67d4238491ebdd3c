"""How often a process looks for garbage, tried in processes of their own: it holds for the whole process."""

import subprocess
import sys

SETUP = "import gc; from telemetry_app.operations import collector\n"


def result(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", SETUP + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_causes_no_collection() -> None:
    """Once told so, the collector does not run while a large library is imported."""
    code = (
        "collector.collect_less_often(); before = gc.get_stats(); import pydantic.main; print(gc.get_stats() == before)"
    )
    assert result(code) == "True"


def test_what_is_loaded_is_spared() -> None:
    """What lives by then is in no later collection, nor in one for this; what becomes garbage later is found."""
    code = """
class Loop:
    def __init__(self): self.me = self
def loops(): return sum(isinstance(one, Loop) for one in gc.get_objects())
collector.collect_less_often()
loaded, before = Loop(), gc.get_stats()
collector.spare_what_lives()
print(gc.get_stats() == before, loops(), gc.get_freeze_count() > 5000, gc.isenabled())
Loop()
print(loops(), gc.collect() > 0, loops())
"""
    assert result(code).splitlines() == ["True 0 True True", "1 True 0"]


def test_what_goes_on_living_is_spared() -> None:
    """No look goes through a crowd that has come since, and a cycle that is dropped at once is found all the same."""
    code = """
import weakref
class Loop: pass
collector.spare_what_lives()
looks = []
gc.callbacks.append(lambda phase, _: looks.append(sum(map(len, map(gc.get_objects, range(3))))))
crowd = [[] for _ in range(200_000)]
print(max(looks) <= 25_000, gc.get_freeze_count() > 150_000)
loop = Loop()
loop.me, gone = loop, weakref.ref(loop)
del loop
others = [[] for _ in range(30_000)]
print(gone() is None)
"""
    assert result(code).splitlines() == ["True True", "True"]
