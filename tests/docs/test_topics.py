"""docs/topics.md followed."""

from tests.docs.shell import assert_printed_as_shown


def test_the_commands_print_what_is_shown(server_url: str) -> None:
    assert_printed_as_shown("docs/topics.md", server_url)
