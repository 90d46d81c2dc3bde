"""What a database URL means."""

import ssl

import pytest

from nowait.database_url import DatabaseUrl
from tests.conftest import ROOT


def test_each_part_is_read_as_it_was_meant() -> None:
    url = DatabaseUrl.parse("mysql://w%40rker:p%3A%2F%3F@[::1]:3307/na%20me?tls=1")
    assert url == DatabaseUrl("::1", 3307, "w@rker", "p:/?", "na me", True)


def test_what_is_left_out_has_a_default() -> None:
    assert DatabaseUrl.parse("mysql://database.example/name") == DatabaseUrl(
        "database.example", 3306, "", "", "name", False
    )


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(DatabaseUrl.parse("mysql://user:secret@host/name"))
    for text in ("mysql://user:secret@host:0/name", "mysql://user:secret@host", "mysql://user:secret@host/n?tls=0"):
        with pytest.raises(ValueError, match="expected mysql://") as caught:
            DatabaseUrl.parse(text)
        assert "secret" not in str(caught.value)


def test_tls_verifies_the_certificate_and_the_host_name() -> None:
    context = DatabaseUrl.parse("mysql://host/name?tls=1").options()["ssl"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert DatabaseUrl.parse("mysql://host/name").options()["ssl"] is None


@pytest.mark.parametrize("part", ["run", "worker"])
def test_what_queries_can_log_in_to_mysql_without_tls(part: str) -> None:
    # PyMySQL encrypts the password by RSA, with a package that it does not require by itself.
    assert "\ncryptography==" in (ROOT / f"deploy/requirements/{part}.txt").read_text()
