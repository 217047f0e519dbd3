"""A notebook, in a real kernel: a run shows its epochs, and how far it is in place."""

import json
import sys

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.fixture
def kernel(tmp_path, monkeypatch) -> str:
    """Return the name of a kernel that runs with this Python."""
    folder = tmp_path / "jupyter" / "kernels" / "here"
    folder.mkdir(parents=True)
    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": words, "display_name": "here", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return "here"


def shown(cell) -> dict[str, str]:
    """Return what a cell printed, by stream, and its result."""
    texts: dict[str, str] = {}
    for output in cell.outputs:
        if output.output_type == "stream":
            texts[output.name] = texts.get(output.name, "") + output.text
        elif output.output_type == "display_data":
            texts["display"] = output.data["text/plain"]
        else:
            texts["result"] = output.data["text/plain"]
    return texts


@pytest.mark.slow
def test_a_run_in_a_notebook_is_seen(tmp_path, toy, kernel):
    options = {**toy, "epochs": 2, "show_progress": True}
    sources = [
        f"from recbole_hlr import load, prepare, run\noptions = {options!r}\nresult = run('CML', **options)",
        "parts = prepare('CML', **options)\n_ = parts.trainer.fit(parts.train_data, parts.valid_data)",
        "result = run('CML', **{**options, 'state': 'warning', 'show_progress': False})",
        "import logging\nlogging.getLogger('recbole_hlr').handlers.clear()\n"
        "logging.basicConfig(level=logging.INFO)\nresult = run('CML', **{**options, 'show_progress': False})",
        "import time\nfrom IPython.display import DisplayHandle\nfrom recbole_hlr.console import Display, Row\n"
        "seen, update = [], DisplayHandle.update\n"
        "DisplayHandle.update = lambda self, data, **more: (seen.append(data), update(self, data, **more))\n"
        "with Display(lambda: [Row(['epoch 3 of 0 to 9'], done=0.3)]):\n    time.sleep(1)\n"
        "seen[0]['text/plain'].startswith('epoch 3 of 0 to 9  ━━━') and seen[-1] == {'text/plain': ''}",
        "len(load(result.run_dir).recommend('u1', k=3))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(
        notebook, kernel_name=kernel, timeout=100, resources={"metadata": {"path": tmp_path}}
    ).execute()
    first, second, quiet, own, drawn, last = (shown(cell) for cell in notebook.cells)
    for text in (first["stderr"], second["stderr"]):
        lines = [line for line in text.splitlines() if line.startswith("epoch ") and "loss" in line]
        assert [line.split()[1] for line in lines] == ["0", "1"]
    assert "run directory" in first["stderr"]
    assert drawn["result"] == "True"
    assert drawn["display"] == first.get("display", "") == ""  # nothing of it is left
    assert "Warning" not in first["stderr"]
    assert quiet == {}
    assert own["stderr"].count("epoch   1  loss") == own["stderr"].count("INFO:recbole_hlr:epoch   1") == 1
    assert last == {"result": "3"}
