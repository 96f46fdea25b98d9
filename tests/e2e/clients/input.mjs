const INPUT = { start: 40, name: "zoë", ratio: 0.5, list: [1, -70000, 2 ** 40, null, true], nested: { a: {} } };

export default async function (client) {
  const created = await client.demo.create(["input"], { input: INPUT });
  const viaGateway = client.demo.getOrCreate(["input", "2"], { createWithInput: INPUT });
  return {
    sent: INPUT,
    created: (await created.who()).input,
    count: await created.increment(2),
    viaGateway: (await viaGateway.who()).input,
    unchanged: (await client.demo.getOrCreate(["input"], { createWithInput: { start: 0 } }).who()).input,
    none: (await client.demo.getOrCreate(["input", "none"]).who()).input,
  };
}
