"""Both ends of the cases of states.test.ts, on the kernel's own sockets. One process per end runs all cases side by side.

Standard input brings the stages: `lost`, `back`, `end`. Standard output takes `ready` when every connection is open, and the results
as one JSON document at the end. Case N uses port 7000 + N.
"""
import hashlib
import json
import socket
import struct
import sys
import threading
import time

ROLE, ADDRESS, PEER, LENGTH = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
PORT = 7000
TCP_REPAIR = 19
TCP_USER_TIMEOUT = 18
TCP_FASTOPEN = 23
TCP_FASTOPEN_CONNECT = 30
TCP_MD5SIG = 14
TCPI_OPT_SYN_DATA = 32
IPPROTO_MPTCP = 262
LOST, BACK, END = threading.Event(), threading.Event(), threading.Event()
TIMES = {}


def pattern(count, seed=1):
    block = hashlib.sha256(bytes([seed])).digest()
    return (block * (count // len(block) + 1))[:count]


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def read_all(sock, limit=120):
    """Everything until the end, and how the end came."""
    sock.settimeout(limit)
    parts = []
    try:
        while True:
            part = sock.recv(65536)
            if not part:
                return b"".join(parts), "eof"
            parts.append(part)
    except OSError as error:
        return b"".join(parts), name_of(error)


def name_of(error):
    import errno

    return errno.errorcode.get(error.errno, type(error).__name__) if error.errno else type(error).__name__


def outcome(sock):
    data, end = read_all(sock)
    return {"bytes": len(data), "hash": digest(data), "end": end, "after": since_back()}


def since_back():
    """Seconds since link-up, of which the word may come a moment later than what it brings about."""
    now = time.monotonic()
    return now - TIMES["back"] if BACK.wait(5) else None


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def receiver(sock):
    return outcome(sock)


class Case:
    """`client` and `server` get the connected socket; what they return is the result of that end."""

    early = True
    protocol = 0

    def prepare_client(self, sock):
        pass

    def prepare_server(self, sock):
        pass

    def client(self, sock):
        return {}

    def server(self, sock):
        return receiver(sock)


class Opening(Case):
    """Connects while the link is lost."""

    early = False

    def client(self, sock):
        sock.sendall(pattern(1000))
        result = {"connected": since_back(), "bytes": 1000, "hash": digest(pattern(1000))}
        sock.shutdown(socket.SHUT_WR)
        return {**result, **{"end": read_all(sock)[1]}}


class FinAlone(Case):
    def client(self, sock):
        LOST.wait()
        time.sleep(1)
        sock.shutdown(socket.SHUT_WR)
        return {"bytes": 0, "hash": digest(b""), "end": read_all(sock)[1]}


class FinWithCustody(Case):
    """Bulk is under way at the cut, more is written, and the process lets go of the socket: an orphan in FIN-WAIT-1."""

    def client(self, sock):
        sent = bytearray()
        sock.settimeout(60)
        piece = pattern(20000, 3)
        while not LOST.is_set():
            sock.sendall(piece)
            sent += piece
            time.sleep(0.005)
        sock.sendall(pattern(5000, 4))
        sent += pattern(5000, 4)
        sock.close()
        return {"bytes": len(sent), "hash": digest(bytes(sent))}


class HalfClosedNear(Case):
    """The far end has closed before; the near one writes during the outage and closes."""

    def client(self, sock):
        assert sock.recv(10) == b""
        LOST.wait()
        time.sleep(1)
        data = pattern(30000, 5)
        sock.sendall(data)
        sock.close()
        return {"bytes": len(data), "hash": digest(data)}

    def server(self, sock):
        sock.shutdown(socket.SHUT_WR)
        return receiver(sock)


class HalfClosedFar(Case):
    """The near end has closed before; the far one writes during the outage."""

    def client(self, sock):
        sock.shutdown(socket.SHUT_WR)
        return outcome(sock)

    def server(self, sock):
        assert sock.recv(10) == b""
        LOST.wait()
        time.sleep(2)
        data = pattern(30000, 6)
        sock.sendall(data)
        sock.close()
        return {"bytes": len(data), "hash": digest(data)}


class SimultaneousClose(Case):
    def client(self, sock):
        LOST.wait()
        sock.sendall(b"x" * 100)
        sock.shutdown(socket.SHUT_WR)
        return outcome(sock)

    def server(self, sock):
        LOST.wait()
        sock.sendall(b"y" * 200)
        sock.shutdown(socket.SHUT_WR)
        return outcome(sock)


class ResetHeld(Case):
    """The near end resets during the outage, after bytes that are in flight."""

    def client(self, sock):
        LOST.wait()
        time.sleep(1)
        reset(sock)
        return {}


class FarForgot(Case):
    """The far host loses the socket without a word (TCP_REPAIR), as a reboot would; bytes are in flight when the link goes."""

    def client(self, sock):
        try:
            while not LOST.is_set():
                sock.sendall(pattern(1000))
                time.sleep(0.005)
        except OSError:
            pass
        return outcome(sock)

    def server(self, sock):
        sock.settimeout(0.1)
        while not LOST.is_set():
            try:
                sock.recv(65536)
            except TimeoutError:
                pass
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        sock.close()
        return {}


class Keepalive(Case):
    """A keepalive every second, three unanswered ones are the end."""

    def prepare_client(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            sock.setsockopt(socket.IPPROTO_TCP, option, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)

    def client(self, sock):
        BACK.wait()
        sock.sendall(b"alive")
        sock.shutdown(socket.SHUT_WR)
        return {"bytes": 5, "hash": digest(b"alive"), "end": read_all(sock)[1]}


class Urgent(Case):
    """A byte out of band in the middle of data that waits for the link."""

    def client(self, sock):
        LOST.wait()
        time.sleep(0.5)
        sock.sendall(b"before")
        sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b"after")
        sock.shutdown(socket.SHUT_WR)
        return {"bytes": 11, "hash": digest(b"beforeafter"), "end": read_all(sock)[1]}

    def server(self, sock):
        BACK.wait()
        urgent = b""
        while not urgent and since_back() < 30:
            try:
                urgent = sock.recv(1, socket.MSG_OOB)
            except OSError:
                time.sleep(0.1)
        return {**receiver(sock), "urgent": urgent.decode()}


class ClosedByReceiver(Case):
    """The far application does not read: the window was shut before the outage, and stays shut after it."""

    def prepare_server(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def client(self, sock):
        sent = bytearray()
        sock.setblocking(False)
        self.fill(sock, sent)
        LOST.wait()
        time.sleep(1)
        BACK.wait()
        time.sleep(1)
        more = self.fill(sock, sent)
        sock.setblocking(True)
        sock.shutdown(socket.SHUT_WR)
        return {"bytes": len(sent), "hash": digest(bytes(sent)), "slipped": more, "end": read_all(sock)[1]}

    def fill(self, sock, sent):
        count = 0
        quiet = time.monotonic() + 1.5
        while time.monotonic() < quiet:
            try:
                taken = sock.send(pattern(1000, len(sent) // 1000 % 250))
                sent += pattern(1000, len(sent) // 1000 % 250)[:taken]
                count += taken
                quiet = time.monotonic() + 1.5
            except BlockingIOError:
                time.sleep(0.05)
        return count

    def server(self, sock):
        BACK.wait()
        time.sleep(3)
        return receiver(sock)


class UserTimeout(Case):
    """A limit of a quarter of the outage; the trickle is on by the port's rule, or off."""

    def prepare_client(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(LENGTH * 1000 / 4))

    def client(self, sock):
        LOST.wait()
        sent = bytearray()
        sock.settimeout(200)
        try:
            while not BACK.is_set():
                piece = pattern(2000, 7)
                sock.sendall(piece)
                sent += piece
                time.sleep(0.1)
            sock.shutdown(socket.SHUT_WR)
            end = read_all(sock)[1]
        except OSError as error:
            end = name_of(error)
        return {"bytes": len(sent), "hash": digest(bytes(sent)), "end": end, "after": since_back()}


class GivenUp(Case):
    def client(self, sock):
        LOST.wait()
        sock.sendall(pattern(3000))
        data, end = read_all(sock)
        return {"end": end, "lasted": time.monotonic() - TIMES["lost"], "after": since_back()}


class PortReuse(Case):
    """Reset, and connected again from the same port, both during the outage."""

    def client(self, sock):
        local, remote = sock.getsockname(), sock.getpeername()
        LOST.wait()
        time.sleep(0.5)
        reset(sock)
        again = socket.socket(sock_family())
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(local)
        again.settimeout(60)
        again.connect(remote)
        connected = since_back()
        again.sendall(b"second")
        again.shutdown(socket.SHUT_WR)
        return {"connected": connected, "bytes": 6, "hash": digest(b"second"), "end": read_all(again)[1]}

    def server(self, sock):
        first = outcome(sock)["end"]
        second, _ = self.listener.accept()
        return {**receiver(second), "first": first}


class Bulk(Case):
    """Bulk both ways through the outage: with whatever options the kernels have agreed on."""

    def run(self, sock, seed):
        result = {}
        reader = threading.Thread(target=lambda: result.update(outcome(sock)))
        reader.start()
        piece = pattern(40000, seed)
        sent = 0
        while not BACK.is_set():
            sock.sendall(piece)
            sent += 1
            time.sleep(0.05)
        sock.shutdown(socket.SHUT_WR)
        reader.join()
        segment = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        return {**result, "sent": digest(piece * sent), "segment": segment}

    def client(self, sock):
        sock.settimeout(120)
        return self.run(sock, 8)

    def server(self, sock):
        sock.settimeout(120)
        return self.run(sock, 9)


class Multipath(Case):
    protocol = IPPROTO_MPTCP

    def client(self, sock):
        BACK.wait()
        sock.sendall(b"m")
        sock.shutdown(socket.SHUT_WR)
        return {"bytes": 1, "hash": digest(b"m"), "end": read_all(sock)[1]}


class FastOpen(Case):
    """Data goes with the SYN (RFC 7413, without a cookie), and more of it while the link is lost."""

    def prepare_client(self, sock):
        # The connection is opened by the first write.
        sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)

    def prepare_server(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 8)

    def client(self, sock):
        sock.sendall(pattern(700))
        LOST.wait()
        sock.sendall(pattern(500, 10))
        sock.shutdown(socket.SHUT_WR)
        data = pattern(700) + pattern(500, 10)
        end = read_all(sock)[1]
        options = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
        return {"synData": options & TCPI_OPT_SYN_DATA != 0, "bytes": len(data), "hash": digest(data), "end": end}


class FastOpenParked(FastOpen):
    """The SYN with its data goes into the loss; the sender repeats it without (tcp_send_syn_data is for the first one)."""

    early = False


class SmallWindow(Case):
    """The far end never offers as much as a segment."""

    def prepare_server(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 1000)

    def client(self, sock):
        sent = bytearray()
        sock.settimeout(60)
        while not BACK.is_set():
            piece = pattern(300, len(sent) % 251)
            sock.sendall(piece)
            sent += piece
            time.sleep(0.1)
        sock.shutdown(socket.SHUT_WR)
        return {"bytes": len(sent), "hash": digest(bytes(sent)), "end": read_all(sock)[1]}


class Signed(Case):
    """TCP-MD5 (RFC 2385): nobody but the ends can make a segment of it."""

    def sign(self, sock, address):
        family = sock_family()
        plain = socket.inet_pton(family, address)
        inner = plain.ljust(8, b"\0") if family == socket.AF_INET else b"\0" * 4 + plain
        name = (struct.pack("=HH", family, 0) + inner).ljust(128, b"\0")
        key = b"tcpfreeze"
        sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, name + struct.pack("=BBHi", 0, 0, len(key), 0) + key.ljust(80, b"\0"))

    def prepare_client(self, sock):
        self.sign(sock, ADDRESS)

    def prepare_server(self, sock):
        self.sign(sock, PEER)

    def client(self, sock):
        BACK.wait()
        sock.sendall(b"signed")
        sock.shutdown(socket.SHUT_WR)
        return {"bytes": 6, "hash": digest(b"signed"), "end": read_all(sock)[1]}


CASES = [
    ("opening", Opening()),
    ("fin", FinAlone()),
    ("fin-custody", FinWithCustody()),
    ("half-closed-near", HalfClosedNear()),
    ("half-closed-far", HalfClosedFar()),
    ("simultaneous-close", SimultaneousClose()),
    ("reset-held", ResetHeld()),
    ("far-forgot", FarForgot()),
    ("keepalive", Keepalive()),
    ("urgent", Urgent()),
    ("closed-by-receiver", ClosedByReceiver()),
    ("user-timeout-trickle", UserTimeout()),
    ("user-timeout", UserTimeout()),
    ("given-up", GivenUp()),
    ("port-reuse", PortReuse()),
    ("bulk", Bulk()),
    ("mptcp", Multipath()),
    ("bulk-bare", Bulk()),
    ("bulk-ecn", Bulk()),
    ("fast-open", FastOpen()),
    ("fast-open-parked", FastOpenParked()),
    ("small-window", SmallWindow()),
    ("md5", Signed()),
]
# The settings of the client's namespace under which the connection opens: what the client does not offer is not agreed on.
SYSCTLS = {
    "bulk-bare": {"tcp_timestamps": "0", "tcp_window_scaling": "0", "tcp_sack": "0"},
    "bulk-ecn": {"tcp_ecn": "1"},
}


def sock_family():
    return socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET


def set_sysctls(values):
    before = {}
    for key, value in values.items():
        path = f"/proc/sys/net/ipv4/{key}"
        with open(path) as file:
            before[key] = file.read().strip()
        with open(path, "w") as file:
            file.write(value)
    return before


def serve(case, listener, results, name):
    sock, _ = listener.accept()
    case.listener = listener
    try:
        results[name] = case.server(sock)
    except Exception as error:
        results[name] = {"error": repr(error)}


def use(case, index, sock, results, name):
    try:
        if not case.early:
            LOST.wait()
            time.sleep(1)
            sock.connect((ADDRESS, PORT + index))
        results[name] = case.client(sock)
    except Exception as error:
        results[name] = {"error": repr(error)}


def main():
    # Data in a SYN is sent and taken without a cookie.
    set_sysctls({"tcp_fastopen": str(0x1 | 0x2 | 0x4 | 0x200)})
    results, threads = {}, []
    for index, (name, case) in enumerate(CASES):
        kind = socket.SOCK_STREAM
        try:
            sock = socket.socket(sock_family(), kind, case.protocol)
            (case.prepare_server if ROLE == "server" else case.prepare_client)(sock)
        except OSError as error:
            results[name] = {"skipped": f"the kernel does not know it: {error}"}
            continue
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        before = set_sysctls(SYSCTLS.get(name, {}) if ROLE == "client" else {})
        if ROLE == "server":
            sock.bind((ADDRESS, PORT + index))
            sock.listen(8)
            threads.append(threading.Thread(target=serve, args=(case, sock, results, name), daemon=True))
        else:
            if case.early:
                sock.connect((ADDRESS, PORT + index))
            threads.append(threading.Thread(target=use, args=(case, index, sock, results, name), daemon=True))
            set_sysctls(before)
        threads[-1].start()
    print("ready", flush=True)
    for line in sys.stdin:
        word = line.strip()
        TIMES[word] = time.monotonic()
        {"lost": LOST, "back": BACK, "end": END}[word].set()
        if word == "end":
            break
    deadline = time.monotonic() + 60
    for thread in threads:
        thread.join(max(0.1, deadline - time.monotonic()))
    print(json.dumps(results), flush=True)


main()
