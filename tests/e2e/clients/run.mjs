// Runs one subject against a daemon with an official client, and prints what came out as JSON.
//   node run.mjs PACKAGE_DIR ENDPOINT SUBJECT [TOKEN]
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packageDir, endpoint, subject, token] = process.argv.slice(2);
const { exports } = JSON.parse(readFileSync(join(packageDir, "package.json"), "utf8"));
const { ActorHandleRaw, createClient } = await import(pathToFileURL(join(packageDir, exports["./client"].import.default)));
const { default: run } = await import(`./${subject}.mjs`);

// A server that is asked for an actor twice in a moment may say that it was destroyed meanwhile; whoever asks again gets it.
if (process.env.ASK_AGAIN) {
  const plain = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const { method, url } = request;
    for (let left = 20; ; left--) {
      const answer = await plain(request.clone());
      const may = method === "PUT" || url.includes("rvt-method=getOrCreate");
      if (!may || answer.status !== 400 || left === 0) return answer;
      if (!(await answer.clone().text()).includes("destroyed_during_creation")) return answer;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
}

// The two clients name this method differently.
const socketMethod = "webSocket" in ActorHandleRaw.prototype ? "webSocket" : "websocket";
const openSocket = (handle, ...args) => handle[socketMethod](...args);

const client = createClient({ endpoint, token, namespace: "default", encoding: "json" });
const result = await run(client, { endpoint, token, openSocket });
await client.dispose();
process.stdout.write(JSON.stringify(result) + "\n", () => process.exit(0));
