"""One address for several gateways, which are asked in turn."""

import itertools
import socket
import threading

END = b"\r\n\r\n"


class Front:
    """Listens at a free port of 127.0.0.1, before the gateways start, so that they can be told where people come to."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = "http://{}:{}".format(*self.listener.getsockname())

    def serve(self, addresses: list[str]):
        """Passes each request on to the next of the gateways, as long as this program runs."""
        threading.Thread(target=self.accept, args=[addresses], daemon=True).start()

    def accept(self, addresses: list[str]):
        for address in itertools.cycle(addresses):
            client, _ = self.listener.accept()
            threading.Thread(target=pass_on, args=[client, address], daemon=True).start()


def pass_on(client: socket.socket, address: str):
    """Passes one request on. The gateway is asked to close behind its answer, so that the client comes again."""
    host, port = address.rsplit(":", 1)
    with client, socket.create_connection((host, int(port))) as server:
        head = b""
        while END not in head:
            part = client.recv(65536)
            if not part:
                return
            head += part
        head, rest = head.split(END, 1)
        # Behind what the client says of its connection: the last word counts.
        server.sendall(head + b"\r\nConnection: close" + END + rest)
        threading.Thread(target=copy, args=[client, server], daemon=True).start()
        copy(server, client)


def copy(source: socket.socket, target: socket.socket):
    """Copies to the end of one direction. Whoever hangs up has said all it wanted."""
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
