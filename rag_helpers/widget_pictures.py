"""Static pictures of widgets: saved widget state → HTML → PNG.

Covers the ipywidgets that the course uses; any other is shown by its name.
The module does not know what a widget means or does.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from rag_helpers.errors import MissingExtraError, RagError

__all__ = ["CHROMIUM_FLAGS", "WIDGET_VIEW", "find_chromium", "render_html", "take_picture"]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)

_PAGE = """<div class="rag-picture"><style>
.rag-picture {{ font: 13px/1.45 sans-serif; color: #1a1a1a; background: #fff; padding: 8px; }}
.rag-picture .row {{ display: flex; gap: 8px; flex-wrap: wrap; align-items: center; }}
.rag-picture .column {{ display: flex; flex-direction: column; gap: 6px; }}
.rag-picture .control {{ display: inline-flex; gap: 8px; align-items: center; }}
.rag-picture .field {{ border: 1px solid #8a8a8a; padding: 2px 8px; min-width: 3em; }}
.rag-picture .wide {{ min-width: 24em; }}
.rag-picture .button {{ border: 1px solid #8a8a8a; background: #e6e6e6; padding: 3px 12px;
  align-self: flex-start; }}
.rag-picture .chosen {{ background: #cfe2f3; }}
.rag-picture .track {{ width: 140px; height: 4px; background: #bbb; position: relative; }}
.rag-picture .knob {{ width: 12px; height: 12px; border-radius: 6px; background: #1f5f99;
  position: absolute; top: -4px; }}
.rag-picture pre {{ margin: 0; white-space: pre-wrap; }}
.rag-picture details {{ border: 1px solid #ccc; padding: 2px 8px; }}
</style>{body}</div>"""


def find_chromium() -> Path | None:
    """Return the Chromium or Chrome on this machine, or None.

    Examples
    --------
    >>> path = find_chromium()
    >>> path is None or path.exists()
    True
    """
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return Path(found)
    return None


def take_picture(html: str, chromium: Path, *, width: int = 860) -> bytes:
    """Render HTML in headless Chromium and return a PNG of what it shows.

    Parameters
    ----------
    html : str
        A fragment from `render_html`.
    chromium : Path
        The browser's executable.
    width : int, default 860
        Width of the picture in pixels.

    Returns
    -------
    bytes
        The PNG file, in 256 colours.

    Raises
    ------
    MissingExtraError
        If playwright is not installed.
    RagError
        If the browser does not start.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise MissingExtraError(
            "Pictures of widgets need playwright; run: pip install playwright"
        ) from error
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=str(chromium), args=list(CHROMIUM_FLAGS)
            )
        except Error as error:
            reason = str(error).strip().splitlines()[0]
            raise RagError(f"{chromium} does not start ({reason}); install it anew.") from error
        # Neither scripts nor the network: what is drawn may come from a document.
        page = browser.new_page(
            viewport={"width": width, "height": 200}, java_script_enabled=False, offline=True
        )
        page.set_content(f"<body style='margin:0'>{html}</body>")
        picture = page.locator(".rag-picture").first.screenshot()
        browser.close()
    return _shrink(picture)


def _shrink(png: bytes) -> bytes:
    """Keep 256 colours: text on flat ground then takes a third of the bytes."""
    from PIL import Image  # matplotlib brings it

    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def render_html(model_id: str, states: Mapping[str, Any]) -> str:
    """Render a saved widget as static HTML.

    Parameters
    ----------
    model_id : str
        The widget to render.
    states : Mapping
        ``notebook.metadata.widgets[...]["state"]``: model id → model.

    Returns
    -------
    str
        HTML without scripts, empty when the widget shows nothing. Text from
        the state is escaped, but the value of an ``HTML`` widget is HTML
        already and is taken as it is.

    Examples
    --------
    >>> state = {"a": {"model_name": "LabelModel", "state": {"value": "<b>"}}}
    >>> "&lt;b&gt;" in render_html("a", state)
    True
    """
    body = _render(model_id, states)
    return _PAGE.format(body=body) if body else ""


def _render(model_id: str, states: Mapping[str, Any]) -> str:
    model = states.get(model_id)
    if model is None:
        return ""
    name = model["model_name"].removesuffix("Model")
    state = model["state"]
    layout = states.get(_identity(state.get("layout") or ""), {}).get("state", {})
    if layout.get("display") == "none" or layout.get("visibility") == "hidden":
        return ""
    children = [_render(_identity(child), states) for child in state.get("children", [])]
    if name in ("HBox", "VBox", "Box", "GridBox"):
        inside = "".join(children)
        return inside and f"<div class='{'row' if name == 'HBox' else 'column'}'>{inside}</div>"
    if name in ("Accordion", "Tab"):
        return _render_titled(state, children)
    if name == "Output":
        return "".join(_render_output(output, states) for output in state.get("outputs", []))
    return _render_control(name, state)


def _identity(reference: str) -> str:
    return reference.removeprefix("IPY_MODEL_")


def _render_titled(state: Mapping[str, Any], children: list[str]) -> str:
    titles = state.get("titles") or list((state.get("_titles") or {}).values())
    chosen = state.get("selected_index")
    sections = []
    for position, child in enumerate(children):
        title = escape(titles[position]) if position < len(titles) else ""
        is_open = " open" if position == chosen else ""
        sections.append(f"<details{is_open}><summary>{title}</summary>{child}</details>")
    return "".join(sections)


def _render_output(output: Mapping[str, Any], states: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"<pre>{escape(output['text'])}</pre>"
    data = output.get("data", {})
    if WIDGET_VIEW in data:
        return _render(data[WIDGET_VIEW]["model_id"], states)
    if "image/png" in data:
        return f"<img alt='' src='data:image/png;base64,{escape(data['image/png'].strip())}'>"
    if "text/html" in data:
        return str(data["text/html"])
    return f"<pre>{escape(str(data.get('text/plain', '')))}</pre>"


def _render_control(name: str, state: Mapping[str, Any]) -> str:
    label = escape(str(state.get("description") or ""))
    label = label and f"<span>{label}</span>"
    value = state.get("value")
    if name in ("HTML", "HTMLMath"):
        body = f"<div>{value}</div>"
    elif name == "Label":
        return f"<div>{escape(str(value))}</div>"
    elif name == "Button":
        return f"<span class='button chosen'>{escape(state.get('description', ''))}</span>"
    elif name in ("IntSlider", "FloatSlider"):
        low, high = float(state.get("min", 0)), float(state.get("max", 100))
        place = 128 * (float(value or 0) - low) / ((high - low) or 1)
        track = f"<span class='track'><span class='knob' style='left:{place:.0f}px'></span></span>"
        body = f"{track}<span>{value or 0}</span>"
    elif name == "Checkbox":
        body, label = f"<span>{'☑' if value else '☐'}</span>{label}", ""
    elif name in ("Dropdown", "ToggleButtons", "RadioButtons", "Select", "SelectionSlider"):
        body = _render_choice(name, state)
    elif name in ("Text", "Textarea", "Combobox", "IntText", "BoundedIntText"):
        shown = value if value else state.get("placeholder", "")
        body = f"<span class='field wide'>{escape(str(shown))}</span>"
    elif name in ("IntProgress", "FloatProgress"):
        body = (
            f"<progress max='{float(state.get('max', 1))}' value='{float(value or 0)}'></progress>"
        )
    else:
        body = f"<span class='field'>{escape(name)}</span>"
    return f"<div class='control'>{label}{body}</div>"


def _render_choice(name: str, state: Mapping[str, Any]) -> str:
    options = [str(option) for option in state.get("_options_labels", [])]
    chosen = state.get("index")
    if name == "RadioButtons":
        lines = "".join(
            f"<div>{'◉' if position == chosen else '○'} {escape(option)}</div>"
            for position, option in enumerate(options)
        )
        return f"<div class='column'>{lines}</div>"
    if name == "ToggleButtons":
        return "".join(
            f"<span class='button{' chosen' if position == chosen else ''}'>{escape(option)}</span>"
            for position, option in enumerate(options)
        )
    shown = options[chosen] if chosen is not None and chosen < len(options) else ""
    return f"<span class='field'>{escape(shown)} ▾</span>"
