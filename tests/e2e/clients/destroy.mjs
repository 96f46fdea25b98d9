import { caught, until } from "./tools.mjs";

export default async function (client, { endpoint }) {
  const actor = client.demo.getOrCreate(["doomed"]);
  await actor.increment(5);
  const id = await actor.resolve();
  await client.demo.getForId(id).destroy();
  let record;
  await until(async () => {
    const answer = await fetch(`${endpoint}/actors?namespace=default&actor_ids=${id}`);
    record = (await answer.json()).actors[0];
    return record.destroy_ts !== null;
  }, "the end of the actor");
  const reborn = client.demo.getOrCreate(["doomed"]);
  return {
    id,
    record,
    byId: await caught(() => client.demo.getForId(id).get()),
    count: await reborn.get(),
    newId: await reborn.resolve(),
  };
}
