"""XMP packets: named values into a packet, and out of anybody's. Source: XMP specification part 1, 2012."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XMP = "http://ns.adobe.com/xap/1.0/"
OWN = "urn:imagpose:provenance#"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LONGEST_PACKET = 1 << 20
"""Bytes; a packet is a few kB, and parsing another's is work that its writer chooses."""


def as_xmp(values: Mapping[str, str]) -> bytes:
    """A packet that says these values, by names such as "xmp:CreatorTool", "Iptc4xmpExt:..." and "imagpose:..."."""
    attributes = "\n    ".join(f"{name}={quoteattr(value)}" for name, value in values.items())
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{_RDF}">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{IPTC}" xmlns:xmp="{XMP}" xmlns:imagpose="{OWN}"
    {attributes}/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>""".encode()


def read_xmp(packet: bytes | str) -> dict[str, str]:
    """What a packet says, by "{namespace}name"; nothing where it is damaged, has entities of its own or is too large."""
    data = packet.encode() if isinstance(packet, str) else packet
    if len(data) > LONGEST_PACKET or b"<!" in data.replace(b"\x00", b""):  # a document type, whatever the encoding
        return {}
    try:
        is_wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16, whose last byte may be 0
        root = ElementTree.fromstring(data if is_wide else data.rstrip(b"\x00"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return {}
    found: dict[str, str] = {}
    for description in root.iter(f"{{{_RDF}}}Description"):
        values = {
            **description.attrib,
            **{child.tag: child.get(f"{{{_RDF}}}resource") or child.text or "" for child in description},
        }
        found |= {name: value.strip() for name, value in values.items() if value.strip()}
    return found
