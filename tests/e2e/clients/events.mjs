import { until } from "./tools.mjs";

export default async function (client) {
  const actor = client.demo.getOrCreate(["events"]);
  const connections = [actor.connect(), actor.connect(), actor.connect()];
  const [one, two, silent] = connections;
  const heard = { one: [], once: [], two: [], whisper: [], elsewhere: [] };
  const stop = one.on("newCount", (...args) => heard.one.push(args));
  one.once("newCount", (...args) => heard.once.push(args));
  two.on("newCount", (...args) => heard.two.push(args));
  two.on("whisper", (...args) => heard.whisper.push(args));
  one.on("whisper", (...args) => heard.elsewhere.push(args));
  await Promise.all(connections.map((connection) => connection.get()));

  await silent.increment(1);
  await actor.increment(2);
  await until(() => heard.one.length === 2 && heard.two.length === 2, "two events on two connections");
  stop();
  await one.get();
  await actor.increment(3);
  await two.whisper({ psst: "ł" });
  await until(() => heard.two.length === 3 && heard.whisper.length === 1, "the third event");
  await one.get();
  await Promise.all(connections.map((connection) => connection.dispose()));
  return heard;
}
