"""Virtual hosts: empty brokers, for a test alone.

Many are made at a time, as each `rabbitmqctl` starts an Erlang node of its own; none is deleted, as the broker's
data is.
"""

from collections.abc import Iterator, Sequence
from uuid import uuid4

from deploy.local.broker import Broker

_MANY = 16
# What add_vhost and set_permissions do, in RabbitMQ 3 and 4; a broker that is killed a moment later still has them,
# as RabbitMQ 4.3 has at once: it keeps them in another database.
_ADD = """\
[begin
   ok = rabbit_vhost:add(Name, <<"tests">>),
   ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
 end || Name <- [{names}]],
[ok = mnesia:sync_log() || mnesia:system_info(is_running) =:= yes].
"""


def add(broker: Broker, names: Sequence[str]) -> None:
    """Make virtual hosts that the user "guest" may do everything in."""
    broker.control("eval", _ADD.format(names=", ".join(f'<<"{name}">>' for name in names)))


def url(broker: Broker, name: str) -> str:
    """The URL of a virtual host."""
    return f"amqp://guest:guest@127.0.0.1:{broker.port}/{name}"


def endless(broker: Broker) -> Iterator[str]:
    """The URLs of new virtual hosts, as many as are taken."""
    while True:
        names = [uuid4().hex for _ in range(_MANY)]
        add(broker, names)
        yield from (url(broker, name) for name in names)
