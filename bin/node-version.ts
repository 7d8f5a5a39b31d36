/** Oldest major version of Node that `fame` runs on. */
export const MIN_NODE_VERSION = 24;

/** True if this process runs on a supported version of Node. */
export const isNodeRecent = (): boolean => Number.parseInt(process.versions.node, 10) >= MIN_NODE_VERSION;
