// Text that others wrote (models, agents, peers), made safe to show on a terminal: control characters cannot move the
// cursor, retitle the window or write to the clipboard. Each character is mapped on its own, so pieces of a stream can be
// made inert one by one, wherever they were cut.

// Line feed and tab stay; carriage return goes, since alone it lets text overwrite the start of its line.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

const shown = (character: string): string => {
  const code = character.charCodeAt(0);
  if (code === 0x0d) return '';
  if (code < 0x20) return String.fromCharCode(0x2400 + code); // U+2400…: the pictures of C0 controls, such as ␛
  if (code === 0x7f) return '\u2421';
  return `\\x${code.toString(16)}`;
};

/** `text` with every terminal control character replaced by something visible. */
export const inert = (text: string): string => text.replace(CONTROLS, shown);
