// Cutting strings without splitting a surrogate pair: half a pair is not valid Unicode and turns into U+FFFD on the wire.

/** True for the first half of a surrogate pair. */
export const isHighSurrogate = (codeUnit: number): boolean => (codeUnit & 0xfc00) === 0xd800;

/** The largest index up to `index` at which `text` can be cut without splitting a surrogate pair. */
export function charBoundary(text: string, index: number): number {
  if (index >= text.length) return text.length;
  return index > 0 && isHighSurrogate(text.charCodeAt(index - 1)) ? index - 1 : index;
}

/** The first `maxChars` characters (UTF-16 code units) of `text`, followed by `mark` if something was cut off. */
export function cutText(text: string, maxChars: number, mark = '…'): string {
  return text.length <= maxChars ? text : text.slice(0, charBoundary(text, maxChars)) + mark;
}
