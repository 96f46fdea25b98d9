import { caught, until } from "./tools.mjs";

export default async function (client) {
  const params = { name: "zoë", list: [1, 2] };
  const actor = client.demo.getOrCreate(["params"], { params });
  const connection = actor.connect();
  const other = client.demo.get(["params"], { params: { name: "other" } });
  const refused = client.demo.getOrCreate(["params"], { params: { ticket: "void" } });
  const result = {
    action: (await actor.who()).params,
    connection: (await connection.who()).params,
    other: (await other.who()).params,
    none: (await client.demo.get(["params"]).who()).params,
    refusedAction: await caught(() => refused.get()),
  };
  await connection.dispose();

  const shut = refused.connect();
  let error = null;
  shut.onError?.((found) => { error ??= found; });
  await until(() => error, "the refusal of the connection");
  result.refusedConnection = await caught(() => { throw error; });
  await shut.dispose();
  return result;
}
