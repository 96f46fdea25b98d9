// Node's http module: listens on an inherited descriptor, or on what $PORT says, be it a path or a number.
"use strict";
const crypto = require("node:crypto");
const http = require("node:http");
const pattern = require("./pattern.cjs");

const server = http.createServer((request, response) => {
  const nth = pattern.nth(request.socket);
  const [path, query] = request.url.split("?");
  if (path === "/hello") {
    response.end(`hello from node:http, ${query}`);
  } else if (path === "/echo") {
    response.writeHead(200, { "content-type": request.headers["content-type"] });
    request.pipe(response);
  } else if (path === "/large") {
    pattern.stream().pipe(response);
  } else if (path === "/digest") {
    const hash = crypto.createHash("sha256");
    request.on("data", (data) => hash.update(data)).on("end", () => response.end(hash.digest("hex")));
  } else if (path === "/connection") {
    response.end(String(nth));
  } else {
    response.writeHead(404).end();
  }
});

server.listen(process.env.LISTEN_FDS ? { fd: 3 } : process.env.PORT);
