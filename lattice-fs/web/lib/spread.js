// How many of the other machines hold all that this one does, as far as they have said.

export function holders(store, peers) {
  const others = peers.filter((p) => p.state !== "this" && p.state !== "revoked");
  const have = others.filter((p) => p.stores.some((s) => s.store === store && s.live && s.whole && s.behind_there === 0));
  return { have: have.length, others: others.length };
}

export function spread(have, others) {
  const machines = others === 1 ? "other machine" : "other machines";
  return `${have} of ${others} ${machines} ${have === 1 ? "has" : "have"} everything`;
}
