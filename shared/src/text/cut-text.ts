// Cuts strings without splitting a surrogate pair: half a pair is not valid Unicode and becomes U+FFFD on the wire.

/** True for the first half of a surrogate pair. */
export const isHighSurrogate = (codeUnit: number): boolean => (codeUnit & 0xfc00) === 0xd800;

/** Returns the largest index up to `index` at which `text` can be cut without splitting a surrogate pair. */
export function charBoundary(text: string, index: number): number {
  if (index >= text.length) return text.length;
  return index > 0 && isHighSurrogate(text.charCodeAt(index - 1)) ? index - 1 : index;
}

/** Cuts `text` to its first `maxChars` characters (UTF-16 code units), and appends `mark` if something was cut off. */
export function cutText(text: string, maxChars: number, mark = '…'): string {
  return text.length <= maxChars ? text : text.slice(0, charBoundary(text, maxChars)) + mark;
}
