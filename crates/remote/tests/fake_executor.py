"""An executor without graphs: it speaks the protocol and misbehaves on demand. Standard library only.

How it starts is decided by the variable FAKE_START, what a run does by its `graph_id`.
"""

import json
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

# A small part of msgpack: what the protocol needs.


def pack(value):
    if value is None:
        return b"\xc0"
    if value is False or value is True:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">BQ", 0xCF, value) if value >= 0 else struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BI", 0xDB, len(data)) + data
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, dict):
        items = b"".join(pack(key) + pack(item) for key, item in value.items())
        return struct.pack(">BI", 0xDF, len(value)) + items
    return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))


class Unpacker:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        piece = self.data[self.at : self.at + size]
        self.at += size
        return piece

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def value(self):
        first = self.number("B")
        if first < 0x80:
            return first
        if first < 0x90:
            return self.map(first & 15)
        if first < 0xA0:
            return self.list(first & 15)
        if first < 0xC0:
            return self.take(first & 31).decode()
        if first >= 0xE0:
            return first - 256
        constants = {0xC0: None, 0xC2: False, 0xC3: True}
        if first in constants:
            return constants[first]
        numbers = {0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q"}
        numbers |= {0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
        if first in numbers:
            return self.number(numbers[first])
        sizes = "BHI"
        if 0xC4 <= first <= 0xC6:
            return self.take(self.number(sizes[first - 0xC4]))
        if 0xD9 <= first <= 0xDB:
            return self.take(self.number(sizes[first - 0xD9])).decode()
        if first in (0xDC, 0xDD):
            return self.list(self.number("HI"[first - 0xDC]))
        if first in (0xDE, 0xDF):
            return self.map(self.number("HI"[first - 0xDE]))
        raise ValueError(hex(first))

    def list(self, size):
        return [self.value() for _ in range(size)]

    def map(self, size):
        return {self.value(): self.value() for _ in range(size)}


class Channel:
    def __init__(self, variable):
        self.socket = socket.socket(fileno=int(os.environ[variable]))
        os.set_inheritable(self.socket.fileno(), False)
        self.incoming = self.socket.makefile("rb")
        self.writing = threading.Lock()

    def send(self, *frame):
        message = pack(list(frame))
        with self.writing:
            self.socket.sendall(struct.pack("<I", len(message)) + message)

    def receive(self):
        head = self.incoming.read(4)
        if len(head) < 4:
            return None
        (size,) = struct.unpack("<I", head)
        return Unpacker(self.incoming.read(size)).value()


control, data = Channel("RUNLOOM_CONTROL_FD"), Channel("RUNLOOM_DATA_FD")
health = {"lag_ms": 1.5, "runs": 0, "busy_threads": 0, "leaked_threads": 0, "oldest_leak_s": 0.0, "rss_bytes": 50_000_000}
stops = {}
late = queue.Queue()


def ended(call, outcome="success", values=b"null", **more):
    head = {"checkpoint_id": None, "values": values, "next": [], "interrupts": b"{}"}
    control.send(1, call, None, {"outcome": outcome, "head": head, "leaked_threads": 0, "unknown": [1]} | more)


def stay_connected(path):
    """Whoever listens there notices the end of this process, and of a child that knows nothing of workers."""
    child = (
        "import signal, socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGHUP)]; signal.pause()"
    )
    subprocess.Popen([sys.executable, "-c", child, path], stdin=subprocess.DEVNULL)
    mine = socket.socket(socket.AF_UNIX)
    mine.connect(path)
    return mine


def run(call, body):
    graph, stop = body["graph_id"], stops[call]
    given = json.loads(body["input"]) if body.get("input") else None
    if graph == "echo":
        ended(call, values=body["input"])
    elif graph == "wait":
        control.send(3, call, "events", [["custom", [], b'"waits"', None]])
        stop.wait()
        ended(call, "stopped")
    elif graph == "stuck":
        stop.wait()
        control.send(3, call, "stuck", {})
    elif graph == "die":
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif graph == "garbage":
        control.socket.sendall(b"\x03\x00\x00\x00abc")
    elif graph == "flood":
        for number in range(given):
            control.send(3, call, "events", [["custom", [], str(number).encode(), None]])
        ended(call)
    elif graph == "write":
        # All at once; the answers come in any order.
        for number in range(given):
            data.send(0, call * 1000 + number, "put_writes", {"n": number, "call": call})
        answers = dict(data.receive()[1::2] for _ in range(given))
        ended(call, values=json.dumps(len(answers)).encode())
        # After its end the run is not listened to any more.
        stop.wait()
        data.send(0, call * 1000 + 999, "put_writes", {"call": call})
        late.put(data.receive())
    elif graph == "late":
        kind, _, _, answer = late.get()
        ended(call, values=json.dumps([kind, answer.get("type")]).encode())
    elif graph == "leak":
        health.update(leaked_threads=1, oldest_leak_s=3600.0)
        ended(call, leaked_threads=1)
    elif graph == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif graph == "grow":
        health["rss_bytes"] = 10**12
        ended(call)
    elif graph == "print":
        sys.stdout.write("x" * 1_000_000 + "\n" + "line\n" * 10_000)
        sys.stdout.flush()
        ended(call)
    elif graph == "stay":
        stop.connection = stay_connected(given)
    elif graph == "environment":
        ours = [name for name in os.environ if name.startswith("RUNLOOM_")]
        here = {"ours": sorted(ours), "fake": os.environ.get("FAKE"), "folder": os.getcwd()}
        ended(call, values=json.dumps(here).encode())
    else:
        control.send(2, call, None, {"type": "UnknownGraph", "message": graph})


def hello(call, body):
    start = os.environ.get("FAKE_START", "")
    if start == "die":
        print("Traceback: no module named langgraph", file=sys.stderr, flush=True)
        sys.exit(7)
    if start == "hang":
        time.sleep(1000)
    if start == "once":
        # Starts if nobody tried before: each process leaves a mark.
        with open(os.environ["FAKE_MARK"], "a+") as mark:
            mark.seek(0)
            others = mark.read()
            mark.write("x")
        if others:
            sys.exit(1)
    if start == "refuse":
        control.send(2, call, None, {"type": "Protocol", "message": "too new"})
        return
    graphs = [{"id": graph, "factory": False, "shared_subgraph_nodes": []} for graph in body["graphs"]]
    manifest = {"protocol": 99 if start == "version" else 1, "language": "python", "pid": os.getpid()}
    manifest |= {"versions": {"fake": os.environ.get("FAKE", "1")}, "features": [], "graphs": graphs}
    control.send(1, call, None, manifest)


def say_goodbye(*_):
    with open(os.environ["FAKE_MARK"], "a") as mark:
        mark.write("goodbye")
    sys.exit(0)


def main():
    if term := os.environ.get("FAKE_TERM"):
        signal.signal(signal.SIGTERM, say_goodbye if term == "mark" else signal.SIG_IGN)
    while frame := control.receive():
        kind, call, method, body = frame
        if kind == 3 and method == "stop" and call in stops:
            stops[call].set()
        elif kind != 0:
            continue
        elif method == "hello":
            hello(call, body)
        elif method == "ping":
            control.send(1, call, None, health)
        elif method == "run":
            stops[call] = threading.Event()
            threading.Thread(target=run, args=(call, body), daemon=True).start()
        elif method == "drawing":
            control.send(1, call, None, os.getpid())
        else:
            control.send(2, call, None, {"type": "Unsupported", "message": method})
    if os.environ.get("FAKE_END") == "stay":
        time.sleep(1000)


main()
