"""Properties in both directions; py-amqp is the other side."""

from typing import Any

import pytest
from amqp import Message
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from nowait.amqp import properties

short = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
octet = st.integers(0, 255)
some = st.fixed_dictionaries(
    {},
    optional={
        **{name: short for name in properties.NAMES - {"headers", "delivery_mode", "priority", "timestamp"}},
        "headers": st.dictionaries(st.text("ab", min_size=1, max_size=5), short, max_size=3),
        "delivery_mode": octet,
        "priority": octet,
        "timestamp": st.integers(0, 2**63),
    },
)


def encodable(values: dict[str, Any]) -> dict[str, Any]:
    return {name: dumps("F", (value,)) if name == "headers" else value for name, value in values.items()}


@given(some)
def test_py_amqp_reads_what_is_written(values: dict[str, Any]) -> None:
    message = Message()
    message._load_properties(60, b"\x00" * 12 + properties.encode(encodable(values)), 12)
    expected = {("application_headers" if name == "headers" else name): value for name, value in values.items()}
    assert message.properties == expected


@given(some)
def test_what_is_written_is_read_again(values: dict[str, Any]) -> None:
    assert properties.decode(b"..." + properties.encode(encodable(values)) + b"more", 3) == encodable(values)


@pytest.mark.parametrize("value", [{"priority": 256}, {"priority": -1}, {"app_id": "x" * 256}, {"timestamp": -1}])
def test_what_a_property_cannot_hold_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        properties.encode(value)
