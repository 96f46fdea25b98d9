import { caught } from "./tools.mjs";

export default async function (client, { endpoint }) {
  const actor = client.demo.getOrCreate(["doomed"]);
  await actor.increment(5);
  const id = await actor.resolve();
  await client.demo.getForId(id).destroy();
  const listed = await fetch(`${endpoint}/actors?namespace=default&actor_ids=${id}`);
  const reborn = client.demo.getOrCreate(["doomed"]);
  return {
    id,
    record: (await listed.json()).actors[0],
    byId: await caught(() => client.demo.getForId(id).get()),
    count: await reborn.get(),
    newId: await reborn.resolve(),
  };
}
