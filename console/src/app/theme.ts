// The colour scheme of the page: that of the system, or the one that the person chose, which the browser remembers.
import { signal } from '@preact/signals';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'fame-console-theme';
const ORDER: readonly Theme[] = ['system', 'light', 'dark'];

function savedTheme(): Theme {
  // Storage throws when the browser blocks it.
  try {
    return ORDER.find((one) => one === localStorage.getItem(KEY)) ?? 'system';
  } catch {
    return 'system';
  }
}

export const theme = signal<Theme>('system');

/** Reads the saved theme and sets it on the document. Call it before the first paint. */
export function applyTheme(): void {
  theme.value = savedTheme();
  document.documentElement.dataset.theme = theme.value;
}

/** Switches to the next of system, light and dark. */
export function nextTheme(): void {
  theme.value = ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length]!;
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // The theme lasts until the page is closed.
  }
}
