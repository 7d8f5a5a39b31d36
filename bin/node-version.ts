/** The oldest major version of Node that runs the command. */
export const MIN_NODE_VERSION = 24;

export const isNodeRecent = (): boolean => Number.parseInt(process.versions.node, 10) >= MIN_NODE_VERSION;
