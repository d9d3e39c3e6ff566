"""Both ends of merged.test.ts: two connections, on each of which the server writes two lines, the second a byte longer.

Standard input of the server brings `go`. The client says `ready` after some round trips, `first` when it has the first line of both
connections, and a JSON document when it has the second ones: the moment at which each came (CLOCK_MONOTONIC, seconds).
"""
import json
import socket
import sys
import threading
import time

ROLE, ADDRESS = sys.argv[1], sys.argv[2]
PORTS = (7100, 7101)
ROUND_TRIPS = 5
LINE = b"a line of thirty-six bytes, no more.."[:36]
FAMILY = socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET


def exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError("the other end has closed")
        data += part
    return data


def each(work):
    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(PORTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    socks = [None] * len(PORTS)
    if ROLE == "server":
        listeners = [socket.create_server((ADDRESS, port), family=FAMILY) for port in PORTS]
        print("listening", flush=True)
        for index, listener in enumerate(listeners):
            socks[index], _ = listener.accept()
    else:
        for index, port in enumerate(PORTS):
            socks[index] = socket.create_connection((ADDRESS, port))
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def greet(index):
        for _ in range(ROUND_TRIPS):
            if ROLE == "client":
                socks[index].sendall(LINE)
                exactly(socks[index], len(LINE))
            else:
                exactly(socks[index], len(LINE))
                socks[index].sendall(LINE)

    each(greet)
    if ROLE == "server":
        sys.stdin.readline()
        for sock in socks:
            sock.sendall(LINE)
            sock.sendall(LINE + b".")
        sys.stdin.readline()
        return
    print("ready", flush=True)
    each(lambda index: exactly(socks[index], len(LINE)))
    # In flight when the link goes: the gateway delivers it, with an ACK of its own.
    socks[1].sendall(LINE)
    print("first", flush=True)
    came = [0.0] * len(PORTS)

    def second(index):
        exactly(socks[index], len(LINE) + 1)
        came[index] = time.monotonic()

    each(second)
    print(json.dumps(came), flush=True)


main()
