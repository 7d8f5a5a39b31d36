// Messages from the process of an agent to `fame dev`.
export type DevMessage =
  /** The process has imported a file, or has failed to find it. */
  { type: 'file'; path: string } | { type: 'served'; agents: readonly ServedAgent[] };

export interface ServedAgent {
  address: string;
  /** True if `fame chat` can talk to it. */
  hasTurns: boolean;
}
