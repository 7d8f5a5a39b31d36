import type { NodeView } from '../../fabric/nodes.ts';
import { countText } from '../../parts/format.ts';
import { SHOWN_STATES, type ShownState, shownState } from './node-state.ts';

const MEANINGS: Readonly<Record<ShownState, string>> = {
  attached: 'Connected, without open calls',
  busy: 'Connected, with open calls',
  away: 'The connection is lost; the node may resume its session',
  draining: 'Finishes its calls and gets no new ones',
  gone: 'Left a moment ago',
};

/** The colours of the states, with the number of nodes in each. */
export function Legend({ nodes }: { nodes: readonly NodeView[] }) {
  const counts = new Map<ShownState, number>();
  for (const node of nodes) counts.set(shownState(node), (counts.get(shownState(node)) ?? 0) + 1);
  return (
    <ul class="fabric-legend" aria-label="States of the nodes">
      {SHOWN_STATES.map((state) => (
        <li key={state} title={MEANINGS[state]}>
          <span class={`fabric-dot state-${state}`} aria-hidden="true" />
          {countText(counts.get(state) ?? 0)} {state}
        </li>
      ))}
    </ul>
  );
}
