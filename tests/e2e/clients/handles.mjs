import { caught } from "./tools.mjs";

export default async function (client) {
  const missing = await caught(() => client.demo.get(["nobody"]).get());
  const made = client.demo.getOrCreate(["h"]);
  const first = await made.increment(3);
  const id = await made.resolve();
  const got = client.demo.get(["h"]);
  const byId = client.demo.getForId(id);
  return {
    missing,
    first,
    again: await client.demo.getOrCreate(["h"]).get(),
    got: await got.get(),
    byId: await byId.increment(1),
    ids: [id, await got.resolve(), await byId.resolve(), (await got.who()).id],
    other: await client.demo.getOrCreate(["other"]).get(),
    unknownId: await caught(() => client.demo.getForId("tlf0xcg1buacno4zofgpr7isbeal00").get()),
    unknownName: await caught(() => client.nothing_of_this_name.getOrCreate(["x"]).get()),
  };
}
