// Makes text of unknown origin (models, agents, peers) safe to print on a terminal: control characters cannot move the
// cursor, retitle the window or write to the clipboard, and bidirectional controls cannot reorder the visible text. Each
// character is replaced independently, so the pieces of a stream can be escaped one by one.

// C0 except tab and line feed, DEL and C1; then the bidirectional controls of Unicode (UAX #9): marks, embeddings, isolates.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

function visibleForm(control: string): string {
  const code = control.charCodeAt(0);
  // A carriage return alone lets text overwrite the start of its line; before a line feed it adds nothing.
  if (code === 0x0d) return '';
  // U+2400 to U+241F are pictures of the C0 controls, such as ␛.
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  if (code < 0x100) return `\\x${code.toString(16)}`;
  return `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Replaces every control character that a terminal acts on by a visible one. Keeps tabs and line feeds. */
export const escapeControls = (text: string): string => text.replace(CONTROLS, visibleForm);

/** Like `escapeControls`, for one line: runs of white space become one space. */
export const escapeLine = (text: string): string => escapeControls(text.replace(/\s+/g, ' '));

/**
 * Makes JSON text safe to print on a terminal: C1 and bidirectional controls and line separators become JSON escapes, so the
 * text still parses to the same value. JSON text itself has no C0 controls but those between its tokens.
 */
export const escapeJson = (json: string): string =>
  json.replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** Serializes `value` as JSON that is safe to print on a terminal. */
export const printableJson = (value: unknown, indent?: number): string =>
  escapeJson(JSON.stringify(value, null, indent) ?? 'null');
