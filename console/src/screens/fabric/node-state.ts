// State of a node as the graph shows it.

/** Fields of a listed node that decide its state. */
export interface StateFields {
  /** As `GET /fame/v1/nodes` reports it: `attached`, `detached` or `gone`. */
  readonly state: string;
  /** True if the node gets no new calls, because an administrator drains it. */
  readonly isDraining?: boolean | undefined;
  /** Calls of other nodes that this node has not answered completely. */
  readonly serving: number;
  /** Calls of this node without a complete reply. */
  readonly openCalls: number;
  /** Rest of the resume window of a detached node, in ms, at the time of the list. */
  readonly resumeMs?: number | undefined;
}

export type ShownState = 'attached' | 'busy' | 'away' | 'draining' | 'gone';

/** All states, in the order of the legend. */
export const SHOWN_STATES: readonly ShownState[] = ['attached', 'busy', 'away', 'draining', 'gone'];

/** State of a node on the screen. A node with open calls, made or served, is busy. */
export function shownState({ state, isDraining = false, serving, openCalls }: StateFields): ShownState {
  if (state === 'gone') return state;
  if (state === 'detached') return 'away';
  if (isDraining) return 'draining';
  return serving > 0 || openCalls > 0 ? 'busy' : 'attached';
}

/**
 * Seconds left of a detached node's resume window, `ageMs` after the list arrived. Undefined if the node is attached, or if the
 * sentinel does not report the window.
 */
export function secondsLeft({ state, resumeMs }: StateFields, ageMs: number): number | undefined {
  if (state !== 'detached' || resumeMs === undefined) return undefined;
  return Math.max(0, Math.ceil((resumeMs - ageMs) / 1000));
}

/** Text of a node's state, for its card and for screen readers. */
export function stateText(node: StateFields, ageMs: number): string {
  const state = shownState(node);
  if (state === 'busy') {
    const calls = node.serving + node.openCalls;
    return `busy, ${calls} ${calls === 1 ? 'call' : 'calls'}`;
  }
  const seconds = secondsLeft(node, ageMs);
  return seconds === undefined ? state : `${state}, ${seconds} s left`;
}
