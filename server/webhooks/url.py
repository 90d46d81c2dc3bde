"""What the URL of a webhook looks like. No I/O."""

from typing import Any
from urllib.parse import urlsplit

from server.jobs.model import MAX_WEBHOOK_URL
from server.webhooks.addresses import PORTS, AllowList, is_name, parse_address


class BadUrl(ValueError):
    """A URL that no webhook is sent to; the text has what is expected."""


def host_and_port(url: str) -> tuple[str, int]:
    """Of a URL that check() has returned; the host in lower case, without brackets."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def check(url: Any, allowed: AllowList) -> str:
    """The URL, when it has the form of one that a webhook may be sent to.

    Which addresses its host has is another matter, looked at each time that something is sent.

    Raises BadUrl.
    """
    if not isinstance(url, str) or len(url) > MAX_WEBHOOK_URL or not all("!" <= character <= "~" for character in url):
        raise BadUrl(f"a URL of up to {MAX_WEBHOOK_URL} printable ASCII characters is expected.")
    try:
        parts = urlsplit(url)
        host, given = parts.hostname or "", parts.port
    except ValueError:  # a port that is no number, a broken IPv6 address
        raise BadUrl("a URL is expected.") from None
    if "@" in parts.netloc or "#" in url or "\\" in url:
        raise BadUrl("a URL without user and fragment is expected.")
    address = parse_address(host)
    if address is None and not is_name(host):
        raise BadUrl("a URL with the name of a host is expected.")
    # Whoever connects splits it in another way: there must be no other one.
    written = f"[{host}]" if ":" in host else host
    if "%" in host or parts.netloc.lower() != (written if given is None else f"{written}:{given}"):
        raise BadUrl("a URL with a host, and a port or none, is expected.")
    port = {"https": 443, "http": 80}.get(parts.scheme, 0) if given is None else given
    if parts.scheme != "https" and not (parts.scheme == "http" and allowed.permits_http(host, port)):
        raise BadUrl("a URL that begins with https:// is expected.")
    if not allowed.permits_port(host, port):
        raise BadUrl(f"one of the ports {', '.join(map(str, sorted(PORTS)))} is expected.")
    if address is not None and not allowed.permits(host, address, port):
        raise BadUrl("a public address is expected.")
    return url
