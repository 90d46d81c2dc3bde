"""amqps:// with the host's name verified against its certificate, behind every URL of several.

py-amqp verifies the name only when it is given one, and kombu gives that of the first URL for all.
"""

import ssl
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.pyamqp import SSLTransport


def verify_hostname(client: Any) -> None:
    """Have a kombu Connection that uses TLS verify the name of the host it is about to connect to."""
    if client.ssl:
        options = client.ssl if isinstance(client.ssl, dict) else {"cert_reqs": ssl.CERT_REQUIRED}
        client.ssl = {**options, "server_hostname": client.hostname}


class VerifyingTransport(SSLTransport):
    """kombu's transport for amqps://, which verifies."""

    def establish_connection(self) -> Any:
        """Connect; raises what kombu's own does."""
        verify_hostname(self.client)
        return super().establish_connection()


def enable_hostname_verification() -> None:
    """Have kombu use VerifyingTransport for all amqps:// URLs of this process."""
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:{VerifyingTransport.__name__}"
