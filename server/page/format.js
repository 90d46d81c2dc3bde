// Figures as text.

/** A time in seconds, with three digits at most; null is not known. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.00995) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
}

/** A number of things: "1 query", "2 queries". */
export function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}
