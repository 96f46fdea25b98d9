export default async function (client) {
  const actor = client.demo.getOrCreate(["actions"]);
  const calls = Array.from({ length: 25 }, () => actor.increment(1));
  const bytes = (await actor.echo(new Uint8Array([0, 1, 254, 255])))[0];
  const large = "x".repeat(300_000);
  return {
    echo: await actor.echo(1, -2.5, "zażółć 🦊", null, true, { a: [1, { b: [] }] }, []),
    none: await actor.echo(),
    nothing: await actor.nothing(),
    concurrent: (await Promise.all(calls)).sort((a, b) => a - b),
    byName: await actor.action({ name: "increment", args: [10] }),
    bigint: (await actor.echo(12345678901234567890n))[0].toString(),
    bytes: [bytes.constructor.name, ...bytes],
    tagged: await actor.echo(["$Uint8Array", "not base64"]),
    large: (await actor.echo(large))[0] === large,
  };
}
