"""Compresses the bodies of answers with gzip for clients that accept it (RFC 9110 §8.4.1.3)."""

import gzip
import zlib
from functools import lru_cache

from server.rest.http.quart_app import BufferedResponse, StaticResponse, StreamedResponse

MIN_BYTES = 1_024  # a smaller answer fits into one packet as it is
LEVEL = 1  # a page of 60 entries, 5.6 KB: 17 us and 785 bytes; at level 6 24 us and 775 bytes
GZIP_FORMAT = 31  # a window of 32 KiB, and gzip's header and trailer around it
CONSTANT_BYTES = 65_536  # only documents and pages are larger, which are the same each time; compressed once


def compress(response: BufferedResponse, accepted: str) -> dict[str, str]:
    """Compress a response's body if it is worth it, and return the headers that this changes.

    `accepted` is the request's `Accept-Encoding`, empty if it has none.
    """
    if isinstance(response, StreamedResponse):
        if not accepts_gzip(accepted):
            return {"Vary": "Accept-Encoding"}
        response.packer = zlib.compressobj(LEVEL, wbits=GZIP_FORMAT)
        return {"Vary": "Accept-Encoding", "Content-Encoding": "gzip"}
    if len(response.body) < MIN_BYTES:
        return {}
    headers = {"Vary": "Accept-Encoding"}
    if accepts_gzip(accepted):
        response.body = _compressed(response)
        headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(response.body))}
    return headers


def _compressed(response: BufferedResponse) -> bytes:
    if isinstance(response, StaticResponse):
        return response.gzipped
    return (_gzip if len(response.body) < CONSTANT_BYTES else _gzip_once)(response.body)


def accepts_gzip(accepted: str) -> bool:
    """Return whether an `Accept-Encoding` names gzip, or anything, with another quality than 0 (RFC 9110 §12.5.3)."""
    qualities = {}
    for each in accepted.split(","):
        coding, _, parameter = each.partition(";")
        qualities[coding.strip().lower()] = parameter.replace(" ", "").lower()
    quality = qualities.get("gzip", qualities.get("*"))
    return quality is not None and quality.rstrip("0") not in ("q=", "q=0.")


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)


_gzip_once = lru_cache(maxsize=8)(_gzip)
