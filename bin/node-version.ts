// The Node that `fame` needs, and how to get it.
import { fileURLToPath } from 'node:url';

/** Oldest major version of Node that `fame` runs on. */
export const MIN_NODE_VERSION = 24;

/** True if this process runs on a supported version of Node. */
export const isNodeRecent = (): boolean => Number.parseInt(process.versions.node, 10) >= MIN_NODE_VERSION;

/** Returns a sentence on how to get a supported Node. A clone installs one; an installed package uses the Node of the user. */
export function nodeAdvice(file = fileURLToPath(import.meta.url)): string {
  return /[\\/]node_modules[\\/]/.test(file)
    ? `Install Node ${MIN_NODE_VERSION} from https://nodejs.org, or run \`npm install node@${MIN_NODE_VERSION}\` in this directory and try again.`
    : '`make` and `npx node dist/fame.js` use the Node that npm installed.';
}
