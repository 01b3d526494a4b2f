// What the page knows of the cluster: documents, each fetched once and asked for again only if it changed.

// The token is in this variable and nowhere else. Whatever a browser stores (also for a session) is read by whoever gets at its files, and a token is copied
// anew in a moment; so reloading the page asks for it again.
let token = "";

const kept = new Map();
const MOST_KEPT = 100;

// That there is no answer, with the sentence that says why.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function take(text) {
  forget();
  const wanted = text.trim();
  // Anything else could not be sent, and the browser's own error would have the token in it.
  if (!/^[\x21-\x7e]+$/.test(wanted)) {
    throw new Refused(401, "This is no token: a token is one word of letters, digits, dots, hyphens and underscores.");
  }
  token = wanted;
}

export function forget() {
  token = "";
  kept.clear();
}

export async function get(path) {
  const before = kept.get(path);
  const headers = { Authorization: `Bearer ${token}`, Accept: "application/json" };
  if (before) headers["If-None-Match"] = before.etag;
  let response;
  try {
    response = await fetch(`api/v1/${path}`, { headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch {
    throw new Refused(0, "usher does not answer. Look at your connection, and try again.");
  }
  if (response.status === 304 && before) return before.content;
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, content.message ?? `usher answered ${response.status}.`);
  keep(path, { etag: response.headers.get("ETag"), content });
  return content;
}

function keep(path, entry) {
  kept.delete(path);
  kept.set(path, entry);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}
