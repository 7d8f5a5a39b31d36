// Refuses versions of Node that lack what this software uses. `node.ts` imports this file first, so a program on an old Node ends with
// this error instead of doing nothing.

/** Oldest major version of Node that agents, sentinels and clients on Node run on. */
export const MIN_NODE_VERSION = 24;

/** @throws {Error} that names the version that is needed and how to get it */
export function requireNode(version: string, execPath: string): void {
  if (Number.parseInt(version, 10) >= MIN_NODE_VERSION) return;
  throw new Error(
    `Fame Fabric needs Node ${MIN_NODE_VERSION} or newer, and this is Node ${version} (${execPath}). ` +
      `Install Node ${MIN_NODE_VERSION} from https://nodejs.org. Or add it to your project with "npm install node@${MIN_NODE_VERSION}", and start the program with "npx node FILE".`,
  );
}

requireNode(process.versions.node, process.execPath);
