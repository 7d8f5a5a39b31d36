// The panel of a group of nodes: a list that can be searched.
import { useState } from 'preact/hooks';
import type { NodeView } from '../../fabric/nodes.ts';
import { Field } from '../../parts/form.tsx';
import { countText } from '../../parts/format.ts';
import { nodeName } from './graph-cards.ts';
import { findNodes, type Group } from './grouping.ts';
import { SidePanel } from './node-panel.tsx';
import { shownState, stateText } from './node-state.ts';

/** Nodes that the list shows at once. */
const LIST_LENGTH = 100;

export interface GroupPanelProps {
  group: Group<NodeView>;
  ageOf: (node: NodeView) => number;
  onOpen: (node: NodeView) => void;
  onClose: () => void;
}

export function GroupPanel({ group, ageOf, onOpen, onClose }: GroupPanelProps) {
  const [query, setQuery] = useState('');
  const found = findNodes(group.nodes, query);
  const shown = found.slice(0, LIST_LENGTH);
  const count =
    shown.length < found.length
      ? `The first ${shown.length} of ${countText(found.length)} nodes. Search to see others.`
      : `${countText(found.length)} ${found.length === 1 ? 'node' : 'nodes'}`;
  return (
    <SidePanel title={group.label} onClose={onClose}>
      <Field label="Search in this group">
        {(control) => (
          <input
            {...control}
            type="search"
            value={query}
            onInput={(event) => setQuery(event.currentTarget.value)}
          />
        )}
      </Field>
      <p class="muted" role="status">
        {count}
      </p>
      <ul class="fabric-list">
        {shown.map((node) => (
          <li key={node.path}>
            <button type="button" class="fabric-list-node" onClick={() => onOpen(node)}>
              <span class={`fabric-dot state-${shownState(node)}`} aria-hidden="true" />
              <span class="fabric-cut">{nodeName(node)}</span>
              <span class="muted">{stateText(node, ageOf(node))}</span>
            </button>
          </li>
        ))}
      </ul>
    </SidePanel>
  );
}
