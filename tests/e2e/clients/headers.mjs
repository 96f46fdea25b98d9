// Addressing by header and by subprotocol, which the client uses when told not to wait for a ready actor.
import { record, until } from "./tools.mjs";

export default async function (client, { openSocket }) {
  const actor = client.demo.getOrCreate(["headers"]);
  const id = await actor.resolve();
  await actor.increment(1);
  const byId = client.demo.getForId(id);
  const fetched = await byId.fetch("over/here?x=1", { skipReadyWait: true });
  const socket = await openSocket(byId, "there", undefined, { skipReadyWait: true });
  const log = record(socket);
  await until(() => log.messages.length === 1, "the greeting");
  socket.close();
  const connection = byId.connect(undefined, { skipReadyWait: true });
  const result = {
    id,
    fetched: await fetched.json(),
    socket: JSON.parse(log.messages[0]),
    connection: await connection.get(),
    action: await byId.action({ name: "get", args: [], skipReadyWait: true }),
  };
  await connection.dispose();
  return result;
}
