// The official runner as a peer: one JSON line on stdout for each thing that happens to it, commands on stdin.
//   node official_runner.mjs PACKAGE_DIR '{"endpoint", "namespace", "pool", "names", "key", "token", "version", "slots", "quiet"}'
// Every request is answered with who answered, and told unless quiet; text sent to a WebSocket comes back. `shutdown` and `leave` on stdin end
// it with and without a drain.
import { createInterface } from "node:readline";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packageDir, settingsText] = process.argv.slice(2);
const { Runner } = await import(pathToFileURL(join(packageDir, "dist", "mod.js")));
const settings = JSON.parse(settingsText);
const say = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, time: Date.now() / 1000, ...fields }) + "\n");
const quiet = () => {};
const logger = { info: quiet, debug: quiet, warn: quiet, error: quiet, trace: quiet, child: () => logger };

// The official one draws its key itself; a takeover needs a certain one.
class KeyedRunner extends Runner {
	get pegboardUrl() {
		const url = new URL(super.pegboardUrl);
		if (settings.key) url.searchParams.set("runner_key", settings.key);
		return url.toString();
	}
}

const runner = new KeyedRunner({
	logger,
	version: settings.version ?? 1,
	endpoint: settings.endpoint,
	token: settings.token,
	namespace: settings.namespace ?? "default",
	runnerName: settings.pool,
	totalSlots: settings.slots ?? 100,
	prepopulateActorNames: Object.fromEntries((settings.names ?? []).map((name) => [name, { metadata: {} }])),
	metadata: { peer: "official" },
	noAutoShutdown: true,
	onConnected: () => say("connected", { id: runner.runnerId }),
	onDisconnected: (code, reason) => say("disconnected", { code, reason }),
	onShutdown: () => say("shutdown"),
	fetch: async (_runner, actorId, _gateway, _request, request) => {
		const body = await request.text();
		if (!settings.quiet) say("request", { actor: actorId, path: new URL(request.url).pathname });
		return Response.json({ who: "official", actor: actorId, method: request.method, length: body.length });
	},
	websocket: async (_runner, actorId, socket) => {
		socket.addEventListener("message", (event) => socket.send(event.data));
		say("websocket", { actor: actorId });
	},
	hibernatableWebSocket: { canHibernate: () => false },
	onActorStart: async (actor, generation) => say("start", { actor, generation }),
	onActorStop: async (actor, generation) => say("stop", { actor, generation }),
});

createInterface({ input: process.stdin }).on("line", async (line) => {
	if (line === "shutdown") await runner.shutdown(false);
	if (line === "leave") await runner.shutdown(true);
	process.exit(0);
}).on("close", () => process.exit(0));
await runner.start();
