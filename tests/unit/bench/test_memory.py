"""bench.memory: the login of an idle client."""

from bench.memory import startup_packet


def test_startup_packet_is_protocol_3_0_and_counts_itself() -> None:
    packet = startup_packet("u", "db")
    assert packet == b"\0\0\0\x1c\0\x03\0\0user\0u\0database\0db\0\0"
    assert int.from_bytes(packet[:4], "big") == len(packet)
