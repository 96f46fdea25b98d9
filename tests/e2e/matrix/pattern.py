"""The large body all programs send: 512 blocks of 64 KiB, byte i of a block being i % 251."""

BLOCK = bytes(index % 251 for index in range(65536))


def blocks():
    for _ in range(512):
        yield BLOCK
