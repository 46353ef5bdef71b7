/** An error whose message is one sentence for the visitor: what was wrong, and what to do. */
export class LiveError extends Error {
  name = "LiveError";
}
