"""HTTPS: the certificate, which may be replaced while the server runs."""

import logging
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509

from server.stamps import stamp_of

log = logging.getLogger(__name__)

_SOON = timedelta(days=14)  # before its end, a certificate is in the log


class CertificateError(Exception):
    """The certificate cannot be used; the text is one line with its file."""


class Certificate:
    """A certificate and its key.

    Args:
        cert: the file of the certificate, and of those between it and the CA.
        key: that of its private key.

    Attributes:
        context: what new connections are made with.
        expires: when the certificate ends.
        used: is called with each context that takes the place of the one before.

    Raises CertificateError.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = cert, key
        self.used: Callable[[ssl.SSLContext], None] = lambda _context: None
        self._load()

    def changed(self) -> bool:
        """The files are others than those that were read."""
        return stamp_of(self._files) != self._stamp

    async def reload(self) -> bool:
        """Use what is in the files now, for new connections. Returns False where that cannot be used: it is logged."""
        try:
            self._load()
        except CertificateError as error:
            log.error("the certificate is not replaced: %s", error)
            return False
        log.info("the certificate was read again: %s", self._files[0])
        self.used(self.context)
        return True

    def _load(self) -> None:
        self._stamp = stamp_of(self._files)
        # Another one each time: one that had a certificate keeps it beside one whose key is of another type.
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        cert, key = self._files
        try:
            # Without a password, OpenSSL would ask a terminal for one.
            context.load_cert_chain(cert, key, password="")
            self.expires = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
        except (OSError, ValueError, x509.InvalidVersion) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
            raise CertificateError(f"{cert}, {key}: {reason}") from None
        self.context = context
        if self.expires - datetime.now(timezone.utc) < _SOON:
            log.warning("THE CERTIFICATE ENDS at %s: %s", f"{self.expires:%Y-%m-%d %H:%M}Z", cert)
