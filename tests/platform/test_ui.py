from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A real server takes half a minute to start; whether it ends with the command hangs on its being the same process.
SCRIPT = """
import sys
from fourreal.platform import tracking
tracking.server_command = lambda port: [sys.executable, "-c", "import os; print(os.getpid())"]
from fourreal.platform.ui import main
main(["--port", "5001"])
"""


def test_what_stops_the_command_stops_the_server(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=120)
    assert output.splitlines() == ["MLflow: http://127.0.0.1:5001  (Ctrl-C stops it)", str(process.pid)]
