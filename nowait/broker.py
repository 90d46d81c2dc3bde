"""The broker of an application is RabbitMQ, to which kombu speaks AMQP with py-amqp. No I/O."""

from collections.abc import Collection

from celery import Celery

_TRANSPORTS = ("amqp", "amqps", "pyamqp")


def require_rabbitmq(app: Celery, besides: Collection[str] = ()) -> None:
    """Refuse an application with another kind of broker, before kombu looks for what that takes.

    Args:
        app: the application.
        besides: further transports that are allowed, as in the scheme of a URL.

    Raises ValueError, which names what is allowed.
    """
    settings = app.conf
    for given in (settings.broker_read_url, settings.broker_write_url):
        urls = given.split(";") if isinstance(given, str) else given or ()
        for url in urls:
            scheme = url.strip().partition("://")[0] if "://" in url else ""
            transport = settings.broker_transport or scheme or "amqp"
            if transport not in _TRANSPORTS and transport not in besides:
                # A password may be in it: nothing behind the scheme is repeated.
                raise ValueError(f"broker '{transport}://…' is not allowed, expected RabbitMQ: amqp:// or amqps://")
