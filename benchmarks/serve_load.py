"""What a service answers under load, and how many photos a second against `flawmap predict`.

    python benchmarks/serve_load.py MODEL [--photos FOLDER] [--clients 32] [--seconds 60] [--rounds 1]

MODEL is a run or model folder, the photos those of a folder (default: concrete tiles of the real sets). The
service is `flawmap serve`, with an account where --locked is given. Every client sends one photo to
/v1/predict, waits for the answer and sends the next; all keep their connection. `predict` goes through the
same photos in a process of its own. Both are kept to the same two cores (--cores), which the clients share
with the service, and in both the clock starts when the first tenth of the time is over.

Rounds alternate, medians are compared. A queue that is fair makes 32 clients wait 32 ÷ throughput seconds;
"p99 ÷ queue" is the 99th percentile against that. The processors' seconds are printed beside those of the
clock: where other work runs on the machine, the clock's say little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from running import DATA

WARM_UP = 0.1
"""Share of the time that does not count."""

_PREDICT = """
import itertools, sys, time
from flawmap.pipeline.using import load
from flawmap.stages.predict import list_photos, predict_photos
model, seconds, warm_up = load(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
paths = list_photos(sys.argv[4:])
rows = predict_photos(model, list(itertools.islice(itertools.cycle(paths), 20_000)))
began_s = time.perf_counter()
n, start = 0, None
for row in rows:
    now_s = time.perf_counter()
    if start is None and now_s - began_s >= seconds * warm_up:
        start = (now_s, time.process_time())
    elif start is not None:
        n += 1
    if now_s - began_s >= seconds:
        break
print(n, time.perf_counter() - start[0], time.process_time() - start[1], flush=True)
import os; os._exit(0)  # what was read ahead is of no use
"""


@dataclass(frozen=True)
class Load:
    """What one round gave."""

    n_photos: int
    seconds: float
    processor_s: float
    """Of the service alone, or of predict."""
    latencies_s: tuple[float, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        return self.n_photos / self.seconds


def main() -> None:
    """Print errors, throughput, percentiles and both ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=Path, default=DATA / "concrete-tiles")
    parser.add_argument("--count", type=int, default=400, help="photos of the folder that are sent")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--locked", action="store_true", help="with an account and a token")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    files = sorted(path for path in asked.photos.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))
    files = files[:: max(1, len(files) // asked.count)]
    if not files:
        sys.exit(f"no photos in {asked.photos}; set FLAWMAP_DATA, or name a folder with --photos")
    served: list[Load] = []
    predicted: list[Load] = []
    with running_service(asked.model, asked.locked) as (port, token, process_id):
        for _ in range(asked.rounds):
            predicted.append(measure_predict(asked.model, files, asked.seconds))
            requests = [to_request(file, port, token) for file in files]
            served.append(measure_service(requests, port, process_id, asked.clients, asked.seconds))
    for load in served:
        tell_round(load, asked.clients)
    rate, plain = (statistics.median(one.rate for one in loads) for loads in (served, predicted))
    cost, plain_cost = (
        1000 * statistics.median(one.processor_s / max(1, one.n_photos) for one in loads)
        for loads in (served, predicted)
    )
    print(f"flawmap serve   {rate:7.1f} photos/s {cost:7.1f} ms of a core each, without the clients")
    print(f"flawmap predict {plain:7.1f} photos/s {plain_cost:7.1f} ms of a core each")
    print(f"the service answers {rate / plain:.2f} times as many")


def tell_round(load: Load, n_clients: int) -> None:
    """One line of a round, and one for each kind of error."""
    in_order = sorted(load.latencies_s)
    p50, p95, p99 = (1000 * in_order[int(len(in_order) * share)] for share in (0.5, 0.95, 0.99))
    queue_ms = 1000 * n_clients / load.rate
    print(
        f"{load.n_photos} photos, {len(load.errors)} errors, {load.rate:.1f} photos/s, p50 {p50:.0f} ms, "
        f"p95 {p95:.0f} ms, p99 {p99:.0f} ms = {p99 / queue_ms:.2f} × the queue's {queue_ms:.0f} ms"
    )
    for error, n in Counter(load.errors).most_common(5):
        print(f"  {n} × {error}")


@contextmanager
def running_service(model: Path, is_locked: bool) -> Iterator[tuple[int, str | None, int]]:
    """`flawmap serve` on a free port: (port, token, process id)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flawmap = [sys.executable, "-m", "flawmap"]
    with tempfile.TemporaryDirectory() as folder:
        token = None
        if is_locked:
            words = [*flawmap, "add-user", "robot", "--data", folder, "--token"]
            made = subprocess.run(words, input="not a secret\n", capture_output=True, text=True, check=True)
            token = made.stdout.splitlines()[1]
        words = [*flawmap, "serve", str(model), "--port", str(port), "--data", folder]
        served = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert served.stdout is not None
            if not served.stdout.readline().startswith("serving "):
                sys.exit("the service does not start")
            wait_for(port)
            yield port, token, served.pid
        finally:
            served.terminate()
            served.wait()


def wait_for(port: int) -> None:
    """Until something listens."""
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("nothing listens")


def to_request(file: Path, port: int, token: str | None) -> bytes:
    """The bytes that a client sends for a photo."""
    boundary = "7c0e1f0a4f5b4d6c"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="photos"; filename="{file.name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    lines = [
        "POST /v1/predict HTTP/1.1",
        f"Host: localhost:{port}",
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Content-Length: {len(body)}",
        *([] if token is None else [f"Authorization: Bearer {token}"]),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def measure_service(
    requests: list[bytes], port: int, process_id: int, n_clients: int, seconds: float
) -> Load:
    """All clients at once for this time."""
    done: list[tuple[float, float]] = []
    errors: list[str] = []
    end_s = time.perf_counter() + seconds

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        at = number * len(requests) // n_clients
        while (began_s := time.perf_counter()) < end_s:
            writer.write(requests[at % len(requests)])
            await writer.drain()
            error = await read_error(reader)
            errors.extend([error] if error else [])
            done.append((began_s, time.perf_counter()))
            at += 1
        writer.close()

    async def ask_all() -> tuple[float, float, float]:
        clients = asyncio.gather(*(ask(number) for number in range(n_clients)))
        await asyncio.sleep(seconds * WARM_UP)
        start_s, processor_s = time.perf_counter(), processor_seconds(process_id)
        await asyncio.sleep(max(0, end_s - time.perf_counter()))
        ended_s, spent_s = time.perf_counter(), processor_seconds(process_id) - processor_s
        await clients
        return start_s, ended_s, spent_s

    start_s, ended_s, spent_s = asyncio.run(ask_all())
    latencies = tuple(end - begin for begin, end in done if begin >= start_s)
    n_photos = sum(start_s <= end < ended_s for _, end in done)
    return Load(n_photos, ended_s - start_s, spent_s, latencies, tuple(errors))


async def read_error(reader: asyncio.StreamReader) -> str:
    """An answer's error, or ""."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    body = await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
    if not head.startswith("http/1.1 200"):
        return f"{head.splitlines()[0]}: {body[:200].decode()}"
    return json.loads(body)["photos"][0]["error"]


def processor_seconds(process_id: int) -> float:
    """Of a process and its threads so far, from Linux's /proc."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_predict(model: Path, files: list[Path], seconds: float) -> Load:
    """What `flawmap predict` runs, over the photos again and again."""
    words = [sys.executable, "-c", _PREDICT, str(model), str(seconds), str(WARM_UP), *map(str, files)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return Load(int(told[0]), float(told[1]), float(told[2]))


if __name__ == "__main__":
    main()
