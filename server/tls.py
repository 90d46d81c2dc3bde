"""HTTPS: the certificate, which may be replaced while the server runs."""

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class CertificateError(Exception):
    """The certificate cannot be used; the text is one line with its file."""


class Certificate:
    """A certificate and its key.

    Args:
        cert: the file of the certificate, and of those between it and the CA.
        key: that of its private key.

    Attributes:
        context: what connections are made with.

    Raises CertificateError.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self.context = self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))

    def reload(self) -> None:
        """Use what is in the files now, for new connections; what cannot be used is logged, and changes nothing."""
        try:
            # Elsewhere first: of a key that does not fit, the half would be in use.
            self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            self._load(self.context)
        except CertificateError as error:
            log.error("the certificate is not replaced: %s", error)
        else:
            log.info("the certificate was read again: %s", self._cert)

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        try:
            # Without a password, OpenSSL would ask a terminal for one.
            context.load_cert_chain(self._cert, self._key, password="")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
            raise CertificateError(f"{self._cert}, {self._key}: {reason}") from None
        return context
