"""The limit on open files goes up with the start, as far as it may."""

import resource
import subprocess
import sys

CODE = """
import resource
from turnout.api.descriptors import raise_descriptor_limit
{before}
raise_descriptor_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits(before: str) -> list[int]:
    """Soft and hard limit of a process that did `before` and then raised its own."""
    code = CODE.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


def test_the_soft_limit_becomes_the_hard_one():
    """Whatever it was."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert limits(f"resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))") == [hard, hard]


def test_where_it_cannot_be_raised_the_old_one_holds():
    """A system that takes no such limit is no reason not to start."""
    refuse = """
def refusing(what, limits):
    raise ValueError("not allowed to raise maximum limit")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
resource.setrlimit = refusing
"""
    assert limits(refuse) == [64, 128]
