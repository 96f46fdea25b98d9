import hashlib

from flask import Flask, Response, request
from pattern import blocks

app = Flask(__name__)


@app.get("/hello")
def hello():
    return f"hello from flask, x={request.args['x']}"


@app.post("/echo")
def echo():
    return Response(request.get_data(), content_type=request.content_type)


@app.get("/large")
def large():
    return Response(blocks())


@app.post("/digest")
def digest():
    found = hashlib.sha256()
    while data := request.stream.read(65536):
        found.update(data)
    return found.hexdigest()
