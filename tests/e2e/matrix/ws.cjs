// The ws package beside plain HTTP on one server.
"use strict";
const http = require("node:http");
const { WebSocketServer } = require("ws");

const server = http.createServer((request, response) => response.end("hello from ws"));
const sockets = new WebSocketServer({
  server,
  path: "/ws",
  handleProtocols: (offered) => (offered.has("chat") ? "chat" : false),
});
sockets.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    if (!isBinary && data.toString() === "bye") socket.close(4001, "so long");
    else socket.send(data, { binary: isBinary });
  });
});
server.listen({ fd: 3 });
