// Messages from the process of an agent to `fame dev`.
export type DevMessage =
  /** The process has imported a file, or has failed to find it. */
  { type: 'file'; path: string } | { type: 'served'; agents: readonly ServedAgent[] };

export interface ServedAgent {
  address: string;
  /** True if `fame chat` can talk to it. */
  hasTurns: boolean;
}

/** True for a message of `preload.ts`. The author's own program may send others. */
export function isDevMessage(message: unknown): message is DevMessage {
  const { type, path, agents } = Object(message) as Record<string, unknown>;
  return (type === 'file' && typeof path === 'string') || (type === 'served' && Array.isArray(agents));
}
