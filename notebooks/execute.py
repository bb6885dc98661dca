"""Execute notebooks in place, and give their figures a text for readers who do not see them.

python notebooks/execute.py [NOTEBOOK ...]   # all by default, about ten minutes; one kernel at a time

The text is `alt` in the metadata of the cell that draws the figure. nbconvert and JupyterLab do not show it with a PNG;
so the saved output also has the figure as HTML, ``<img alt="...">``, which both prefer. Figures are stored with 256
colours, which makes both smaller than one PNG of matplotlib.
"""

import base64
import html
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent


def described(output, text):
    """Add to an output with a PNG the same figure as HTML with a text."""
    image = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB")
    small = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    png = base64.b64encode(small.getvalue()).decode()
    shown = output.get("metadata", {}).get("image/png", {})
    width = shown.get("width", image.width)
    output["data"]["image/png"] = png
    source = f'src="data:image/png;base64,{png}"'
    output["data"]["text/html"] = f'<img alt="{html.escape(text)}" width="{width}" {source}>'


def execute(path):
    """Execute a notebook in place; an error of a cell leaves the file as it was."""
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True, resources=where).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                described(output, cell.metadata["alt"])
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(HERE.glob("*.ipynb")):
        print(name, flush=True)
        execute(Path(name))
