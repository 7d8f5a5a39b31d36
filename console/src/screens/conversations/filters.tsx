// The filters of the list. A text takes effect with Enter or when its field is left.
import type { ConversationState } from '@fame-fabric/client';
import type { ChatAgent } from '../../fabric/conversation/chat-agents.ts';
import { Button, Field } from '../../parts/form.tsx';
import { visibleText } from '../../parts/markdown.tsx';

export interface Filter {
  /** Address; empty for all. */
  readonly agent: string;
  readonly state: ConversationState | '';
  /** True: only those whose last turn failed. */
  readonly isFailed: boolean;
  readonly owner: string;
  /** Least known cost. */
  readonly minCost: number | undefined;
  /** A text in the id or in a message of the user. */
  readonly search: string;
}

export const NO_FILTER: Filter = {
  agent: '',
  state: '',
  isFailed: false,
  owner: '',
  minCost: undefined,
  search: '',
};

const MAX_SEARCH_CHARS = 200;
const STATES: readonly (readonly [ConversationState, string])[] = [
  ['working', 'Open'],
  ['input-required', 'Waits for a person'],
  ['completed', 'Completed'],
  ['canceled', 'Cancelled'],
];

export interface FiltersProps {
  agents: readonly ChatAgent[];
  filter: Filter;
  onChange: (filter: Filter) => void;
}

export function Filters({ agents, filter, onChange }: FiltersProps) {
  const change = (part: Partial<Filter>): void => onChange({ ...filter, ...part });
  return (
    <form class="filters" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <Field label="Search">
        {(control) => (
          <input
            {...control}
            type="search"
            maxLength={MAX_SEARCH_CHARS}
            placeholder="Id or message"
            value={filter.search}
            onChange={({ currentTarget }) => change({ search: currentTarget.value })}
          />
        )}
      </Field>
      <Field label="Agent">
        {(control) => (
          <select
            {...control}
            value={filter.agent}
            onChange={({ currentTarget }) => change({ agent: currentTarget.value })}
          >
            <option value="">All agents</option>
            {agents.map(({ address }) => (
              <option key={address} value={address}>
                {visibleText(address)}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label="State">
        {(control) => (
          <select
            {...control}
            value={filter.state}
            onChange={({ currentTarget }) => change({ state: currentTarget.value as Filter['state'] })}
          >
            <option value="">Any state</option>
            {STATES.map(([state, text]) => (
              <option key={state} value={state}>
                {text}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label="Owner">
        {(control) => (
          <input
            {...control}
            value={filter.owner}
            placeholder="Id of a principal"
            onChange={({ currentTarget }) => change({ owner: currentTarget.value.trim() })}
          />
        )}
      </Field>
      <Field label="Cost from">
        {(control) => (
          <input
            {...control}
            class="filter-cost"
            type="number"
            min="0"
            step="any"
            value={filter.minCost ?? ''}
            onChange={({ currentTarget: { valueAsNumber } }) =>
              change({ minCost: Number.isNaN(valueAsNumber) ? undefined : valueAsNumber })
            }
          />
        )}
      </Field>
      <label class="filter-check">
        <input
          type="checkbox"
          checked={filter.isFailed}
          onChange={({ currentTarget }) => change({ isFailed: currentTarget.checked })}
        />
        Last turn failed
      </label>
      {filter !== NO_FILTER && <Button onClick={() => onChange(NO_FILTER)}>Clear</Button>}
    </form>
  );
}
