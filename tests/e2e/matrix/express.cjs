"use strict";
const crypto = require("node:crypto");
const express = require("express");
const pattern = require("./pattern.cjs");

const app = express();
app.use((request, response, next) => {
  request.nth = pattern.nth(request.socket);
  next();
});
app.get("/hello", (request, response) => response.send(`hello from express, x=${request.query.x}`));
app.post("/echo", express.raw({ type: "*/*", limit: "40mb" }), (request, response) => {
  response.type(request.get("content-type")).send(request.body);
});
app.get("/large", (request, response) => pattern.stream().pipe(response));
app.post("/digest", (request, response) => {
  const hash = crypto.createHash("sha256");
  request.on("data", (data) => hash.update(data)).on("end", () => response.send(hash.digest("hex")));
});
app.get("/connection", (request, response) => response.send(String(request.nth)));
app.listen(process.env.PORT);
