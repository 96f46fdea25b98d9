export default async function (client) {
  const actor = client.demo.getOrCreate(["connect"]);
  const one = actor.connect();
  const two = actor.connect();
  const calls = Array.from({ length: 10 }, (_, index) => (index % 2 ? one : two).increment(1));
  const result = {
    counts: (await Promise.all(calls)).sort((a, b) => a - b),
    echo: await one.echo("a", { b: [null] }),
    nothing: await two.nothing(),
    audience: (await actor.who()).audience,
  };
  await two.dispose();
  result.afterDispose = await one.increment(0);
  while ((await one.who()).audience !== 1);
  await one.dispose();
  return result;
}
