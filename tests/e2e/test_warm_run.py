"""A run whose graphs are in the cache, as a process without torch."""

from pathlib import Path

import pytest

from tests.helpers.command import benchbox, invoke

SHORT = ["--precision", "90%", "--max-time", "5s", "--quick"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_tmp")]


@pytest.mark.usefixtures("shared_cache")
def test_a_warm_run_never_imports_torch(in_tmp: Path) -> None:
    (in_tmp / "mine.py").write_text(
        "from torch import nn\n\ndef conv(width):\n    return nn.Conv2d(width, width, 1)\n"
    )
    (in_tmp / "mine.toml").write_text(
        'title = "Mine"\nbuilder = "./mine.py:conv"\ninput = ["width", 8, 8]\n'
        "[[cases]]\nargs = { width = 8 }\n"
    )
    poison = in_tmp / "poison"
    (poison / "torch").mkdir(parents=True)
    (poison / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')\n")
    (poison / "onnxscript.py").write_text("raise SystemExit('onnxscript was imported')\n")
    without = {"PYTHONPATH": str(poison)}
    cold = benchbox("show", "./mine.toml", BENCHBOX_CACHE_DIR=str(poison / "cache"), **without)
    assert "was imported" in cold.stdout  # so the poison works
    assert invoke("show", "./mine.toml").exit_code == 0
    warm = benchbox("run", "./mine.toml", *SHORT, **without)
    assert warm.returncode == 0, warm.stderr
