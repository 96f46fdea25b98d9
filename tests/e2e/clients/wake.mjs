import { execFileSync } from "node:child_process";
import { until } from "./tools.mjs";

// A program that puts an actor to sleep, where the server's API cannot.
const sleeper = process.env.SLEEPER ? JSON.parse(process.env.SLEEPER) : null;

export default async function (client, { endpoint }) {
  const actor = client.demo.getOrCreate(["wake"]);
  await actor.increment(4);
  const before = await actor.who();

  function sleep() {
    if (sleeper) return execFileSync(sleeper[0], [...sleeper.slice(1), before.id], { stdio: "ignore" });
    return fetch(`${endpoint}/actors/${before.id}/sleep?namespace=default`, {
      method: "POST", headers: { "content-type": "application/json" }, body: "{}",
    });
  }

  await sleep();
  await until(async () => {
    const answer = await fetch(`${endpoint}/actors?namespace=default&actor_ids=${before.id}`);
    return (await answer.json()).actors[0].connectable_ts === null;
  }, "sleep");
  const count = await actor.increment(1);
  const after = await actor.who();

  const connection = actor.connect();
  const heard = [];
  connection.on("newCount", (value) => heard.push(value));
  await connection.get();
  await sleep();
  await until(async () => {
    const { generation, audience } = await actor.who();
    return generation > after.generation && audience === 1;
  }, "the connection's return");
  await connection.get();
  await actor.increment(1);
  await until(() => heard.length === 1, "an event after the wake");
  await connection.dispose();
  return { before, after, count, heard };
}
