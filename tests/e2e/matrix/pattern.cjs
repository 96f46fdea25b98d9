// The large body all programs send: 512 blocks of 64 KiB, byte i of a block being i % 251.
"use strict";
const { Readable } = require("node:stream");

const BLOCK = Buffer.from(Array.from({ length: 65536 }, (_, index) => index % 251));

exports.stream = () => Readable.from(Array(512).fill(BLOCK));

// Which request of its connection this is.
exports.nth = (socket) => {
  socket.requestsSeen = (socket.requestsSeen ?? 0) + 1;
  return socket.requestsSeen;
};
