import { caught, record, until } from "./tools.mjs";

export default async function (client, { openSocket, token }) {
  const actor = client.demo.getOrCreate(["token"]);
  if (!token) return { action: await caught(() => actor.get()), resolve: await caught(() => actor.resolve()) };
  const socket = await openSocket(actor, "with/token");
  const log = record(socket);
  await until(() => log.messages.length === 1 || log.close || log.failed, "the greeting or a refusal");
  socket.close();
  const result = {
    action: await actor.increment(1),
    byId: await client.demo.getForId(await actor.resolve()).increment(1),
    fetched: (await (await actor.fetch("x")).json()).path,
    socket: log.messages.length ? JSON.parse(log.messages[0]).path : null,
  };
  if (result.socket) {
    const connection = actor.connect();
    result.connection = await connection.increment(1);
    await connection.dispose();
  }
  return result;
}
