// Rules about packs of tokens: which one is offered first, and how much a larger one saves.

/** The chosen pack; without a choice the smallest that has the needed tokens, or the largest. */
export function offerOf(packs, chosen, needed = 0) {
  return packs.find((pack) => pack.packId === chosen) ?? packs.find((pack) => pack.tokens >= needed) ?? packs.at(-1);
}

/** The share by which a token of this pack is cheaper than in the dearest one, in whole percents, rounded down. */
export function saving(pack, packs) {
  const dearest = Math.max(...packs.map((each) => Number(each.costPerToken)));
  return Math.floor(100 * (1 - Number(pack.costPerToken) / dearest)) / 100;
}
