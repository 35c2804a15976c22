"""Drawings as SVG: the files beside a report, and what the page shows until (or instead of) its script.

The renderer's output is parsed and only known elements and attributes are kept, so that nothing but a picture can
come out of it, whatever the data were; and it becomes a third as long.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import vl_convert

from disobey.reports.cells import without_controls
from disobey.reports.charts import WIDTH, Drawing, specification

VEGA_LITE = "6.4"
_NAMESPACE = "http://www.w3.org/2000/svg"
_ELEMENTS = {"svg", "g", "path", "line", "rect", "text", "tspan", "defs", "clipPath", "linearGradient", "stop"}
_ATTRIBUTES = {
    "transform",
    "d",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "width",
    "height",
    "viewBox",
    "fill",
    "stroke",
    "opacity",
    "fill-opacity",
    "stroke-opacity",
    "stroke-width",
    "stroke-dasharray",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-miterlimit",
    "text-anchor",
    "font-size",
    "font-weight",
    "font-family",
    "clip-path",
    "id",
    "offset",
    "stop-color",
    "dy",
    "dx",
}
_DEFAULTS = {"opacity": "1", "stroke-width": "1", "font-weight": "normal"}
_DECIMALS = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")


def _rounded(match: re.Match[str]) -> str:
    text = f"{float(match.group()):.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")


def _slim(element: ElementTree.Element, prefix: str, clips: bool = False) -> ElementTree.Element | None:
    """A copy of the element with what is needed to see it; ``None`` where nothing is seen (unless it ``clips``)."""
    tag = element.tag.rpartition("}")[2]
    if tag not in _ELEMENTS or element.get("display") == "none" or element.get("opacity") == "0":
        return None
    kept = ElementTree.Element(tag)
    for name, value in element.attrib.items():
        if name not in _ATTRIBUTES or _DEFAULTS.get(name) == value or (name == "font-family" and tag != "svg"):
            continue
        if name in ("transform", "d", "x2", "y2"):
            value = _DECIMALS.sub(_rounded, value)
        # Several figures share a page, so an id carries its figure's name.
        value = f"{prefix}-{value}" if name == "id" else value.replace("url(#", f"url(#{prefix}-")
        kept.set(name, value)
    kept.text = element.text if tag in ("text", "tspan") else None
    for child in element:
        if (slim := _slim(child, prefix, clips or tag == "clipPath")) is not None:
            kept.append(slim)
    shape = tag in ("path", "line", "rect") and not clips
    if shape and kept.get("fill", "none") == "none" and kept.get("stroke") is None:
        return None
    if tag == "g" and len(kept) == 0:
        return None
    if tag == "g" and len(kept) == 1 and not kept.attrib:
        return kept[0]
    return kept


def _renumbered(text: str) -> str:
    """Ids counted from 0 in every drawing: the renderer counts on through a process."""
    found = dict.fromkeys(re.findall(r'\bid="([^"]+)"', text))
    for i, name in enumerate(found):
        text = text.replace(f'id="{name}"', f'id="\0{i}"').replace(f"url(#{name})", f"url(#\0{i})")
    return text.replace("\0", "clip")


def svg(drawing: Drawing, prefix: str = "figure", width: int = WIDTH) -> str:
    """The drawing as SVG text, the same for the same drawing; ``prefix`` keeps its ids apart from other figures'."""
    raw = vl_convert.vegalite_to_svg(specification(drawing, width), vl_version=VEGA_LITE)
    root = _slim(ElementTree.fromstring(_renumbered(without_controls(raw))), prefix)
    assert root is not None
    root.set("xmlns", _NAMESPACE)
    root.set("font-family", "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif")
    return ElementTree.tostring(root, encoding="unicode")
