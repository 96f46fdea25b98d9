import { caught } from "./tools.mjs";

async function errors(target) {
  return {
    user: await caught(() => target.refuse("too late")),
    internal: await caught(() => target.fail()),
    unknown: await caught(() => target.no_such_action()),
    hook: await caught(() => target.on_start()),
    after: await target.echo("still here"),
  };
}

export default async function (client) {
  const actor = client.demo.getOrCreate(["errors"]);
  const connection = actor.connect();
  const result = { http: await errors(actor), connection: await errors(connection) };
  await connection.dispose();
  return result;
}
