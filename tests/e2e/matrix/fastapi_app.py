import hashlib

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pattern import blocks
from starlette_app import talk

app = FastAPI()


@app.get("/hello", response_class=PlainTextResponse)
async def hello(x: int):
    return f"hello from fastapi, x={x}"


@app.post("/echo")
async def echo(request: Request):
    return Response(await request.body(), media_type=request.headers["content-type"])


@app.get("/large")
def large():
    return StreamingResponse(blocks())


@app.post("/digest", response_class=PlainTextResponse)
async def digest(request: Request):
    found = hashlib.sha256()
    async for data in request.stream():
        found.update(data)
    return found.hexdigest()


@app.websocket("/ws")
async def socket(socket: WebSocket):
    await talk(socket)
