// What several subjects need.

/** What a call threw, in a form for JSON; null if it did not throw. */
export async function caught(call) {
  try {
    await call();
    return null;
  } catch (error) {
    const { name, group, code, message, metadata } = error;
    return { name, group, code, message, metadata };
  }
}

/** Resolves once probe() is true. */
export async function until(probe, what, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  while (!(await probe())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Messages and the end of a raw socket. Node 22 tells a refused upgrade by an error alone. */
export function record(socket) {
  const log = { messages: [], close: null, failed: false };
  socket.binaryType = "arraybuffer";
  socket.addEventListener("message", ({ data }) => log.messages.push(data));
  socket.addEventListener("close", ({ code, reason }) => { log.close = { code, reason }; });
  socket.addEventListener("error", () => { log.failed = true; });
  return log;
}
