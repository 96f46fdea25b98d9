"""Workers that do not do what a worker should: odd.py MODE [ARGUMENT]."""

import os
import signal
import socket
import sys
import time


def never_listens(_argument):
    """Leaves its socket alone."""
    time.sleep(3600)


def hangs(_argument):
    """Accepts, reads, and never answers."""
    server = socket.socket(fileno=3)
    kept = []
    while True:
        kept.append(server.accept()[0])


def closes(_argument):
    """Accepts and closes at once."""
    server = socket.socket(fileno=3)
    while True:
        server.accept()[0].close()


def garbage(_argument):
    """Answers everything with something that is not HTTP."""
    server = socket.socket(fileno=3)
    while True:
        peer, _ = server.accept()
        peer.recv(65536)
        peer.sendall(b"\x16\x03\x01 hello, is this TLS?\r\n\r\n")
        peer.close()


def exits(argument):
    """Complains on stderr and exits with the given code."""
    for number in range(1, 6):
        print(f"complaint {number} of 5", file=sys.stderr)
    sys.exit(int(argument))


def dies(argument):
    """Ends by the given signal."""
    print("about to be killed", file=sys.stderr, flush=True)
    number = int(argument)
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def deaf(_argument):
    """Ignores SIGTERM from the first moment and never listens."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def pretends(argument):
    """Puts something else where its socket should be."""
    path = os.environ["RIVET_SOCKET"]
    server = socket.socket(socket.AF_UNIX)
    if argument == "file":
        with open(path, "w", encoding="utf-8"):
            pass
    elif argument == "link":
        server.bind(path + "2")
        os.symlink(path + "2", path)
    elif argument == "owner":
        server.bind(path)
        os.chown(path, 1, 1)
    if argument != "file":
        server.listen()
    time.sleep(3600)


MODES = {function.__name__: function
         for function in (never_listens, hangs, closes, garbage, exits, dies, deaf, pretends)}

if __name__ == "__main__":
    MODES[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else None)
