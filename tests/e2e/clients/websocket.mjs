import { record, until } from "./tools.mjs";

export default async function (client, { openSocket }) {
  const actor = client.demo.getOrCreate(["socket"]);
  const socket = await openSocket(actor, "room/one");
  const log = record(socket);
  await until(() => log.messages.length === 1 && socket.readyState === 1, "the greeting");
  const large = "ü".repeat(400_000);
  socket.send("text");
  socket.send(new Uint8Array([0, 128, 255]));
  socket.send(large);
  await until(() => log.messages.length === 4, "three echoes");
  socket.send("bye");
  await until(() => log.close, "the close");

  const second = await openSocket(actor, "room/two");
  const secondLog = record(second);
  await until(() => secondLog.messages.length === 1, "the second greeting");
  second.close(4002, "client is done");
  await until(() => secondLog.close, "the second close");
  return {
    id: await actor.resolve(),
    greeting: JSON.parse(log.messages[0]),
    text: log.messages[1],
    bytes: [...new Uint8Array(log.messages[2])],
    large: log.messages[3] === large,
    close: log.close,
    secondClose: secondLog.close,
  };
}
