import { caught } from "./tools.mjs";

export default async function (client) {
  const made = await client.demo.create(["c"]);
  const id = await made.resolve();
  return {
    id,
    count: await made.increment(2),
    viaKey: await client.demo.get(["c"]).get(),
    who: await made.who(),
    duplicate: await caught(() => client.demo.create(["c"])),
    otherKey: (await (await client.demo.create(["c", "2"])).resolve()) !== id,
  };
}
