// Terminal colours.

/** Wraps text in the escape sequences of a colour or weight. */
export interface Style {
  readonly isOn: boolean;
  dim(text: string): string;
  bold(text: string): string;
  red(text: string): string;
  green(text: string): string;
  blue(text: string): string;
  cyan(text: string): string;
}

/** Creates a style that colours text, or one that returns it unchanged. */
export function createStyle(isOn: boolean): Style {
  const paint = (open: number, close: number) => (text: string) =>
    isOn ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return {
    isOn,
    dim: paint(2, 22),
    bold: paint(1, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    blue: paint(34, 39),
    cyan: paint(36, 39),
  };
}
