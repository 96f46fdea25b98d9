export const KEYS = [
  [], ["a"], ["a/b"], ["a", "b"], ["", ""], ["x", ""], ["back\\slash"], ["\\0"], ["zażółć", "日本 🦊"],
  ["a b+c"], ["100%"], ["a%2Fb"], ["?x=1&y#z"], ["."], [".."], ["@token"], ["quote'\""], ["l".repeat(128)],
  [""], ["a,b"],
];

export default async function (client) {
  const found = [];
  for (const key of KEYS) {
    const actor = client.demo.getOrCreate(key);
    const { id, key: text } = await actor.who();
    found.push({ key, id, text, resolved: await actor.resolve() });
  }
  return found;
}
