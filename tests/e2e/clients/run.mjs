// Runs one subject against a daemon with an official client, and prints what came out as JSON.
//   node run.mjs PACKAGE_DIR ENDPOINT SUBJECT [TOKEN]
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packageDir, endpoint, subject, token] = process.argv.slice(2);
const { exports } = JSON.parse(readFileSync(join(packageDir, "package.json"), "utf8"));
const { ActorHandleRaw, createClient } = await import(pathToFileURL(join(packageDir, exports["./client"].import.default)));
const { default: run } = await import(`./${subject}.mjs`);

// The two clients name this method differently.
const socketMethod = "webSocket" in ActorHandleRaw.prototype ? "webSocket" : "websocket";
const openSocket = (handle, ...args) => handle[socketMethod](...args);

const client = createClient({ endpoint, token, namespace: "default", encoding: "json" });
const result = await run(client, { endpoint, token, openSocket });
await client.dispose();
process.stdout.write(JSON.stringify(result) + "\n", () => process.exit(0));
