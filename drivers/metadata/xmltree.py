"""XML of unknown origin as a tree: no DOCTYPE (so no entities), no network, bounded in size and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.errors import Damaged, LimitExceeded
from drivers.limits import LIMITS, check

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DEPTH = 256


class _BoundedBuilder:
    """Builds the tree as ElementTree does and counts how deep it goes: a million nested elements take 300 MB."""

    def __init__(self) -> None:
        from xml.etree.ElementTree import TreeBuilder

        self._tree = TreeBuilder()
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> Any:
        self._depth += 1
        if self._depth > DEPTH:
            raise LimitExceeded(f"the XML nests deeper than {DEPTH} elements: it is not meant to be read here")
        return self._tree.start(tag, attributes)

    def end(self, tag: str) -> Any:
        self._depth -= 1
        return self._tree.end(tag)

    def data(self, data: str) -> None:
        self._tree.data(data)

    def close(self) -> Any:
        return self._tree.close()


def parse_xml(text: str | bytes) -> Element:
    """The root element. Raises Damaged (not well-formed, or with a DOCTYPE) and LimitExceeded."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    check("the length of the XML", len(text), LIMITS.metadata_bytes)
    parser = DefusedXMLParser(target=_BoundedBuilder(), forbid_dtd=True)
    try:
        parser.feed(text)
        return parser.close()
    except DefusedXmlException as error:
        raise Damaged("the XML has a document type, which no microscope writes: it is refused") from error
    except ParseError as error:
        raise Damaged(f"the XML is not well-formed: {error}") from error


def local(element: Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def children(element: Element, name: str) -> list[Element]:
    """Direct children of that name, in any namespace."""
    return [child for child in element if local(child) == name]


def child(element: Element | None, name: str) -> Element | None:
    """The first of `children`."""
    return None if element is None else next(iter(children(element, name)), None)
