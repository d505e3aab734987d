"""T29: books whose file or log is deleted or replaced, or whose disk is read-only: the start refuses or the running gateway lets
nobody in, each says what to do, nothing is begun anew without a word, and nothing is lost once the file is back.
"""

import asyncio
import os
import shutil
import subprocess

import pytest

from tests.faults.banked import over, status, until_drained
from tests.faults.together import Steady, wrong
from tests.process import TURNOUT, environment, turnout
from tests.rig import KEY, Rig, World


@pytest.mark.parametrize("ending", ["", "-wal"])
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_t29_lost_while_it_runs(ending, is_replaced, tmp_path, caplog):
    """After at most one more request nobody is let in; the next start refuses, or goes on with the right file."""
    world = World.instant(seed=1)
    async with Rig(tmp_path, config=over(""), world=world) as rig:
        assert [] == wrong(await Steady([rig], 50).run(0.2))
        await until_drained(rig)
        file = rig.home / "home" / f"books.sqlite3{ending}"
        aside = file.rename(tmp_path / "aside")
        if is_replaced:
            shutil.copy(aside, file)
        async with asyncio.timeout(10):
            while (await status(rig, rig.key))[0] != 503:
                await asyncio.sleep(0.05)
        for _ in range(3):
            assert (503, "5") == await status(rig, rig.key)
        assert is_replaced == file.exists(), "no new one was begun"
        assert "was deleted or replaced while it was open" in caplog.text
        file.unlink(missing_ok=True)
        if ending:
            aside.rename(file)
    if not ending:
        code, _, said = await turnout(tmp_path, "serve", "--port", "0", TURNOUT_MASTER_KEY=KEY)
        assert 1 == code
        assert "is gone" in said.splitlines()[-1]
        assert "Restore it from a backup" in said.splitlines()[-1]
        aside.rename(file)
    async with Rig(tmp_path, config=over(""), world=world) as again:
        await asyncio.sleep(0.1)
        assert 200 == (await status(again, again.key))[0]


async def test_t29_read_only(tmp_path, proof):
    """On a disk that takes nothing, `turnout serve` ends with one line that says so."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare: apt-get install util-linux")
    (tmp_path / "home").mkdir()
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && shift 0 && exec "$@"'
    done = await asyncio.to_thread(
        subprocess.run,
        ["unshare", "-m", "sh", "-c", script, str(tmp_path / "home"), *TURNOUT, "serve", "--port", "0"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 1 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "home" in last
    assert "Read-only" in last or "not ours to write" in last or "readonly" in last, done.stderr
    assert [] == list((tmp_path / "home").iterdir())
    proof(
        "file and log deleted and replaced under a running gateway: nobody let in, no new file begun, every attempt booked "
        f"once the file is back; on a read-only disk: {last.replace(str(tmp_path), '…')!r}"
    )
