"""Where webhooks may go: the internet, and what an operator allows besides."""

from ipaddress import ip_address

import pytest

from server.webhooks.addresses import AllowList, is_public
from server.webhooks.url import BadUrl, check, host_and_port

NONE = AllowList()


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "2002:808:808::1", "192.0.1.1", "172.32.0.1"],
)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "169.254.0.1", "100.64.0.1", "192.0.0.8", "192.0.0.192", "192.0.2.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::808:808",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1",
        "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "100::1",
    ],
)  # fmt: skip
def test_any_other_is_not(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    ("entries", "host", "address", "port", "permitted"),
    [
        ("10.0.0.0/8", "a.example", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "a.example", "10.1.2.3", 8443, True),
        ("10.0.0.0/8", "a.example", "10.1.2.3", 80, False),
        ("10.0.0.0/8", "a.example", "11.1.2.3", 443, True),
        ("10.0.0.0/8", "a.example", "127.0.0.1", 443, False),
        ("10.0.0.0/8:9000", "a.example", "10.1.2.3", 9000, True),
        ("10.0.0.0/8:9000", "a.example", "10.1.2.3", 443, False),
        ("10.0.0.0/8:9000", "a.example", "8.8.8.8", 9000, False),
        ("hooks.internal", "hooks.internal", "192.168.0.1", 443, True),
        ("hooks.internal", "other.internal", "192.168.0.1", 443, False),
        ("Hooks.internal:9000", "hooks.internal", "192.168.0.1", 9000, True),
        ("http://hooks.internal", "hooks.internal", "192.168.0.1", 80, True),
        ("http://hooks.internal", "hooks.internal", "192.168.0.1", 443, False),
        ("127.0.0.1:8443, ::1", "localhost", "127.0.0.1", 8443, True),
        ("127.0.0.1:8443, ::1", "localhost", "127.0.0.2", 8443, False),
        ("127.0.0.1:8443, ::1", "localhost", "::1", 443, True),
        ("[::1]:9000", "localhost", "::1", 9000, True),
        ("fd00::/8", "a.example", "fd12::1", 443, True),
    ],
)
def test_what_an_operator_allows(entries: str, host: str, address: str, port: int, permitted: bool) -> None:
    assert AllowList.parse(entries).permits(host, ip_address(address), port) == permitted


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://a.example", "a.example", 443),
        ("https://A.example:8443/b?c=d", "a.example", 8443),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        ("https://[2001:4860:4860::8888]:443/", "2001:4860:4860::8888", 443),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("https://a_b.example./", "a_b.example.", 443),
        # Looked up, and refused then.
        ("https://localhost/", "localhost", 443),
        ("https://2130706433/", "2130706433", 443),
        ("https://0x7f.1/", "0x7f.1", 443),
    ],
)
def test_a_url_of_the_right_form_is_taken_as_it_is(url: str, host: str, port: int) -> None:
    assert check(url, NONE) == url
    assert host_and_port(url) == (host, port)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (5, "printable ASCII"),
        ("https://a.example/" + "x" * 2048, "up to 2048"),
        ("https://a.example/ b", "printable"),
        ("https://bücher.example/", "ASCII"),
        ("https://a.example/\n", "printable"),
        ("", "the name of a host"),
        ("https:///a", "the name of a host"),
        ("https://a..b/", "the name of a host"),
        ("https://[::1", "a URL is"),
        ("https://a:port/", "a URL is"),
        ("https://a:70000/", "a URL is"),
        ("https://user:password@a.example/", "without user"),
        ("https://a.example/#b", "and fragment"),
        ("https://a.example\\@b/", "without user"),
        ("http://a.example/", "https://"),
        ("ftp://a.example/", "https://"),
        ("file:///etc/passwd", "the name of a host"),
        ("https://a.example:22/", "the ports 443, 8443"),
        ("https://127.0.0.1/", "public"),
        ("https://[::1]/", "public"),
        ("https://[::ffff:169.254.169.254]/", "public"),
        ("https://[fe80::1%25eth0]/", "a host, and a port"),
        ("https://a[2606:4700::1]/", "a .* is expected"),
        ("https://[2606:4700::1]a/", "a .* is expected"),
        ("https://[2606:4700::1%25lo]/", "a host, and a port"),
        ("https://[v1.x]/", "a .* is expected"),
        ("https://example.com:/", "a host, and a port"),
        ("https://example.com:0/", "the ports"),
        ("https://example.com:0443/", "a host, and a port"),
    ],
)
def test_any_other_url_is_not(url: object, expected: str) -> None:
    with pytest.raises(BadUrl, match=expected):
        check(url, NONE)


def test_without_tls_only_what_is_allowed_in_so_many_words() -> None:
    allowed = AllowList.parse("http://127.0.0.0/8:9000,http://hooks.internal,https.internal")
    for url in ("http://127.0.0.1:9000/", "http://hooks.internal/", "https://https.internal/"):
        assert check(url, allowed) == url
    for url in ("http://127.0.0.1:9001/", "http://127.0.0.1/", "http://https.internal/", "http://other.internal/"):
        with pytest.raises(BadUrl):
            check(url, allowed)
