// Figures beside a curve: of one point, and along an axis.

export function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 0.001 || size >= 1e5) ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

/** Labels of an axis: as many digits as tell each from the next. */
export function ticks(splits) {
  const apart = Math.abs(splits[1] - splits[0]);
  const size = Math.max(...splits.map(Math.abs));
  if (!(apart > 0) || size < 0.001 || size >= 1e5) return splits.map(short);
  return splits.map((value) => value.toFixed(Math.min(12, Math.max(0, Math.ceil(-Math.log10(apart) - 1e-9)))));
}

/** The ends of an axis: its room beside the data does not go past 0 and 1 where the data do not, since shares end there. */
export function bounded(low, high, [from, to]) {
  return [low >= 0 ? Math.max(0, from) : from, high <= 1 ? Math.min(1, to) : to];
}
