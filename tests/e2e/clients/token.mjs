import { caught, record, until } from "./tools.mjs";

export default async function (client, { openSocket, token }) {
  const actor = client.demo.getOrCreate(["token"]);
  if (!token) return { action: await caught(() => actor.get()), resolve: await caught(() => actor.resolve()) };
  const connection = actor.connect();
  const socket = await openSocket(actor, "with/token");
  const log = record(socket);
  await until(() => log.messages.length === 1, "the greeting");
  socket.close();
  const id = await actor.resolve();
  const result = {
    action: await actor.increment(1),
    connection: await connection.increment(1),
    byId: await client.demo.getForId(id).increment(1),
    fetched: (await (await actor.fetch("x")).json()).path,
    socket: JSON.parse(log.messages[0]).path,
  };
  await connection.dispose();
  return result;
}
