/** Maximum bytes of the content of an answer, such as messages or a page of events, as JSON: it must fit one envelope. */
export const MAX_ANSWER_BYTES = 196_608;

/** The longest tail of `items` whose JSON takes at most `maxBytes` bytes. */
export function newestThatFit<T>(items: readonly T[], maxBytes: number): T[] {
  let left = maxBytes;
  let from = items.length;
  while (from > 0) {
    left -= Buffer.byteLength(JSON.stringify(items[from - 1]));
    if (left < 0) break;
    from -= 1;
  }
  return items.slice(from);
}
