"""Ports that stay free until their owner comes for them."""

import random
import socket

# The kernel gives ports from here on to outgoing connections, of which tests make thousands.
with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
    EPHEMERAL = int(file.read().split()[0])
LOWEST = 10240


def free_ports(count):
    """Ports of the loopback address that nobody has now and that the kernel gives to nobody by itself."""
    found = []
    while len(found) < count:
        port = random.randrange(LOWEST, max(EPHEMERAL, LOWEST + 1000))
        try:
            with socket.create_server(("127.0.0.1", port)):
                pass
        except OSError:
            continue
        if port not in found:
            found.append(port)
    return found


def free_port():
    return free_ports(1)[0]
