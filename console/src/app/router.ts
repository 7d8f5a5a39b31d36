// Routes are in the hash of the URL, `#/SCREEN/ARGUMENT/ARGUMENT`, so that any static server can serve the page.
import { signal } from '@preact/signals';

export interface Route {
  /** Id of a screen; empty for the home page. */
  readonly screen: string;
  /** The decoded segments after the screen. */
  readonly args: readonly string[];
}

/** Reads a hash such as `#/talk/chat@fame.fabric`. Segments that cannot be decoded are taken as they are. */
export function parseRoute(hash: string): Route {
  const [screen = '', ...args] = hash
    .replace(/^#\/?/, '')
    .split('/')
    .filter((segment) => segment !== '')
    .map(decodeSegment);
  return { screen, args };
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** Returns the link of a screen: `href('talk', 'chat@fame.fabric')`. */
export const href = (screen: string, ...args: readonly string[]): string =>
  `#/${[screen, ...args].map(encodeURIComponent).join('/')}`;

/** The current route. Changes with the hash. */
export const route = signal<Route>({ screen: '', args: [] });

/** Follows the hash of the page until the returned function is called. */
export function followHash(): () => void {
  const read = (): void => {
    route.value = parseRoute(location.hash);
  };
  read();
  addEventListener('hashchange', read);
  return () => removeEventListener('hashchange', read);
}

/** Opens a screen. `replace` changes the current entry of the history instead of adding one. */
export function navigate(
  [screen, ...args]: readonly [screen: string, ...args: string[]],
  { replace = false } = {},
): void {
  const hash = href(screen, ...args);
  if (replace) {
    history.replaceState(null, '', hash);
    route.value = parseRoute(hash);
  } else location.hash = hash;
}
