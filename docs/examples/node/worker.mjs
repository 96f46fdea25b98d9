// An actor with Node's own http module: a note that is still there tomorrow.
//
//     rivet-runnerd --foreground --actor note -- node worker.mjs
import http from "node:http";

/** One call of the runtime API about this process's own actor; sends `body` if there is one. */
function runtime(method, path, body) {
  return new Promise((resolve, reject) => {
    const call = http.request({ socketPath: process.env.RIVET_RUNTIME_SOCKET, method, path: `/v1/actors/self${path}` });
    call.on("response", resolve).on("error", reject);
    if (body) body.pipe(call);
    else call.end();
  });
}

async function answer(request, response) {
  const path = request.url.split("?")[0];
  if (path !== "/note") {
    response.writeHead(404).end("not found\n");
  } else if (request.method === "GET") {
    const stored = await runtime("GET", "/kv/note");
    response.writeHead(stored.statusCode, { "content-type": "text/plain" });
    stored.pipe(response);
  } else if (request.method === "PUT") {
    const stored = await runtime("PUT", "/kv/note", request);
    response.writeHead(stored.statusCode);
    stored.pipe(response);
  } else {
    response.writeHead(405, { allow: "GET, PUT" }).end();
  }
}

const server = http.createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (response.headersSent) response.destroy();
    else response.writeHead(500).end("the note could not be reached\n");
  });
});
server.listen({ fd: 3 });
