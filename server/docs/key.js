// The key of who reads: in this page's memory alone, and gone with it.

let key = "";

export function use(text) {
  key = text.trim();
}

/** The headers that a request with it has; none without one. */
export function headers() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** The same for a shell, which has the key in a variable: no command that is copied has it. */
export function argument() {
  return key ? ['-H "Authorization: Bearer $NOWAIT_KEY"'] : [];
}
