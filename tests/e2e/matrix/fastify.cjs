"use strict";
const crypto = require("node:crypto");
const fastify = require("fastify");
const pattern = require("./pattern.cjs");

const app = fastify({ bodyLimit: 40 * 1024 * 1024 });
app.addContentTypeParser("*", (request, payload, done) => done(null, payload));
app.addHook("onRequest", async (request) => {
  request.nth = pattern.nth(request.raw.socket);
});
app.get("/hello", async (request) => `hello from fastify, x=${request.query.x}`);
app.post("/echo", (request, reply) => reply.type(request.headers["content-type"]).send(request.body));
app.get("/large", (request, reply) => reply.type("application/octet-stream").send(pattern.stream()));
app.post("/digest", async (request) => {
  const hash = crypto.createHash("sha256");
  for await (const data of request.body) hash.update(data);
  return hash.digest("hex");
});
app.get("/connection", async (request) => String(request.nth));

const port = process.env.PORT;
app.listen(port.startsWith("/") ? { path: port } : { host: "127.0.0.1", port: Number(port) });
