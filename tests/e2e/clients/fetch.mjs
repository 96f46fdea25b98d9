async function seen(response) {
  return { status: response.status, count: response.headers.get("x-count"), body: await response.json() };
}

export default async function (client) {
  const actor = client.demo.getOrCreate(["fetch"]);
  await actor.increment(7);
  const large = "body ".repeat(200_000);
  const echoed = await actor.fetch("large", { method: "PUT", body: large });
  const byId = client.demo.getForId(await actor.resolve());
  return {
    get: await seen(await actor.fetch("some/where?a=1&b=%2f&a=2", { headers: { "x-custom": "mine" } })),
    post: await seen(await actor.fetch("/posted", { method: "POST", body: "hello" })),
    remove: await seen(await actor.fetch("gone", { method: "DELETE" })),
    byId: await seen(await byId.fetch("by-id?q=1")),
    large: (await echoed.json()).body === large,
  };
}
