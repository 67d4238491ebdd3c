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
collector.spare_what_is_loaded()
print(gc.get_stats() == before, loops(), gc.get_freeze_count() > 5000, gc.isenabled())
Loop()
print(loops(), gc.collect() > 0, loops())
"""
    assert result(code).splitlines() == ["True 0 True True", "1 True 0"]
