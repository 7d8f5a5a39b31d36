import { countText } from '../../parts/format.ts';
import type { GroupBy } from './grouping.ts';

export interface FabricFilterProps {
  query: string;
  onQuery: (query: string) => void;
  /** Undefined while the graph shows nodes and no groups. */
  by: GroupBy | undefined;
  onGroup: (by: GroupBy) => void;
  /** Nodes that the search found. */
  found: number;
  total: number;
  /** Sentinels of the cluster. */
  sentinels: number;
}

/** The search, and the choice of groups if there are more nodes than the graph shows. */
export function FabricFilter({ query, onQuery, by, onGroup, found, total, sentinels }: FabricFilterProps) {
  const at = sentinels === 1 ? '' : ` at ${sentinels} sentinels`;
  const nodes = `${countText(total)} ${total === 1 ? 'node' : 'nodes'}${at}`;
  return (
    <search class="fabric-filter">
      <input
        type="search"
        aria-label="Search nodes"
        placeholder="Search by address, path, principal…"
        value={query}
        onInput={(event) => onQuery(event.currentTarget.value)}
      />
      {by && (
        <label>
          Group by{' '}
          <select value={by} onChange={(event) => onGroup(event.currentTarget.value as GroupBy)}>
            <option value="address">address</option>
            <option value="principal">principal</option>
            <option value="software">software</option>
          </select>
        </label>
      )}
      <span class="muted" role="status">
        {query === '' ? nodes : `${countText(found)} of ${nodes}`}
      </span>
    </search>
  );
}
