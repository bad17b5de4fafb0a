"""What the tests of shared runs have in common: a relay between shards, a simulator, and waiting."""
import asyncio
import re
import subprocess
import threading
import time


class Relay:
    """A TCP relay that delays each piece there and back. It can be cut, and drop its connections."""

    def __init__(self, to, listen=("127.0.0.1", 0), delays=(0.005, 0.005)):
        self.to, self.listen, self.delays = to, listen, delays
        self.is_cut, self.address, self.dropped = False, None, 0
        self.open = set()
        ready = threading.Event()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        if not ready.wait(10):
            raise OSError(f"cannot listen at {listen}")

    def drop(self):
        """Resets all connections. New ones are served."""
        self.loop.call_soon_threadsafe(self._drop)

    def _drop(self):
        self.dropped += len(self.open)
        for writer in self.open:
            writer.transport.abort()

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)

        async def begin():
            server = await asyncio.start_server(self._serve, *self.listen)
            self.address = server.sockets[0].getsockname()
            ready.set()
            await server.serve_forever()

        self.loop.run_until_complete(begin())

    async def _serve(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.to)
        except OSError:
            writer.close()
            return
        there, back = self.delays
        self.open.add(writer)
        await asyncio.gather(self._pump(reader, far_writer, there), self._pump(far_reader, writer, back))
        self.open.discard(writer)

    async def _pump(self, source, sink, delay):
        try:
            while data := await source.read(1 << 16):
                await asyncio.sleep(delay)
                # A cut network swallows packets; nobody hears of it.
                while self.is_cut:
                    await asyncio.sleep(0.05)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        sink.close()


def start_simulator(program, *words):
    """Starts a simulator of the model `m` at a free port, and returns its process and URL."""
    command = [program, "sim", "--port", "0", "--served-model-name", "m", *words]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = next(found[0] for line in simulator.stdout if (found := re.search(r"http://[0-9.]+:\d+", line)))
    threading.Thread(target=lambda: [None for _ in simulator.stdout], daemon=True).start()
    return simulator, url


def until(what, is_so, seconds=30):
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)
