"""Who asks. No I/O."""

from dataclasses import dataclass

from server.keys.limits import Limits
from server.keys.quota import Quota
from server.keys.scopes import ALL, Scopes


@dataclass(frozen=True)
class Client:
    """A client, as its key has it.

    Attributes:
        name: of its keys; "" where no keys are configured.
        key_id: of the key that it has used, for the log; "" for none.
        owner: of the jobs and schedules that it makes.
        scopes: what it may do.
        quota: how much of it.
    """

    name: str
    key_id: str
    owner: str
    scopes: Scopes
    quota: Quota

    @property
    def sees(self) -> str | None:
        """Whose jobs it sees; None for everybody's, which needs a key."""
        return None if self.name and self.scopes.admin else self.owner


def anybody() -> Client:
    """Who asks where no keys are configured."""
    return Client("", "", "", ALL, Quota(Limits()))
