"""The child of ``loraplex serve --local``: the gateway under uvicorn, on a socket that the parent holds."""

import socket
from functools import partial

from serving.process.http_server import run_child, serve_app
from serving.process.orders import Orders
from serving.process.place import peer_address, replica_name
from serving.process.replica import Replica, summary
from serving.process.reports import Reporter


async def serve(orders: Orders, listener: socket.socket) -> int:
    """Answer requests from the first moment, with 503 until the engine is ready. Returns the exit status."""
    name = replica_name(orders.config)
    host, port = peer_address(orders.config)
    replica = Replica(orders, name, peer_host=host, peer_port=port)
    return await serve_app(
        replica.app,
        orders,
        listener,
        Reporter(orders.reports, name),
        start=replica.start,
        stop=replica.stop,
        summary=partial(summary, orders.config, 1),
    )


if __name__ == "__main__":
    run_child(serve)
