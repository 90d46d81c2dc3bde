// How long requests have waited. No I/O, and no clock: times are seconds of the caller's.

/** The samples of the last `span` seconds. */
export class Samples {
  /** @param step seconds between two requests, as long as they are answered in time. */
  constructor(span, step) {
    this.span = span;
    this.step = step;
    this.points = []; // {at, took}, by time
  }

  /**
   * A request that was sent at `sent` was answered at `at`; `took` is the server's part. Returns the new samples.
   *
   * While one waits, others would have been sent that would have waited, too: leaving them out would have a server that
   * stands still for three seconds look slow once, not thirty times. They are filled in.
   */
  answered(sent, at, took) {
    const points = [...this.waiting(sent, sent + took), { at, took }];
    this.points.push(...points);
    while (this.points.length && this.points[0].at < at - this.span) this.points.shift();
    return points;
  }

  /** For a request of `sent` that is not answered at `now`: how long it had waited, at each step since. */
  waiting(sent, now) {
    const points = [];
    for (let age = this.step; age < now - sent; age += this.step) points.push({ at: sent + age, took: age });
    return points;
  }

  /** How long each has waited from `from` to `to`, in order of length. */
  between(from, to) {
    return this.points
      .filter(({ at }) => at >= from && at <= to)
      .map(({ took }) => took)
      .sort((one, other) => one - other);
  }
}

/** The value below which that share of the sorted values is; null for none. */
export function quantile(sorted, share) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] : null;
}
