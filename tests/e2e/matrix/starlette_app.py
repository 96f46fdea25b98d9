import hashlib

from pattern import blocks
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect


async def hello(request):
    return PlainTextResponse(f"hello from starlette, x={request.query_params['x']}")


async def echo(request):
    return Response(await request.body(), media_type=request.headers["content-type"])


async def large(request):
    return StreamingResponse(blocks())


async def digest(request):
    found = hashlib.sha256()
    async for data in request.stream():
        found.update(data)
    return PlainTextResponse(found.hexdigest())


async def talk(socket):
    await socket.accept("chat" if "chat" in socket.scope["subprotocols"] else None)
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") == "bye":
                await socket.close(4001)
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


app = Starlette(routes=[Route("/hello", hello), Route("/echo", echo, methods=["POST"]), Route("/large", large),
                        Route("/digest", digest, methods=["POST"]), WebSocketRoute("/ws", talk)])
