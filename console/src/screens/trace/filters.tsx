// The filters of the trace. Each applies while the person types.
import { filterTrace, traceLog, traceVersion } from '../../fabric/trace.ts';
import { conversation, conversationError, filterByConversation } from '../../fabric/trace-conversation.ts';
import { NO_FILTER, type TraceFilter } from '../../fabric/trace-log.ts';
import { Button } from '../../parts/form.tsx';
import { describeError } from '../../parts/notices.tsx';

const TEXTS = {
  address: 'Address',
  node: 'Node',
  call: 'Call',
} as const;

export function Filters() {
  traceVersion.value;
  const { filter } = traceLog;
  const isFiltered = Object.values(filter).some((value) => value !== '' && value !== undefined);
  const select = (field: 'type' | 'code', label: string, any: readonly [value: string, text: string][]) => (
    <label class="trace-filter">
      <span class="trace-filter-name">{label}</span>
      <select value={filter[field]} onChange={(event) => filterTrace({ [field]: event.currentTarget.value })}>
        {[...any, ...optionsOf(filter, field)].map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <search class="trace-filters">
      {Object.entries(TEXTS).map(([field, label]) => (
        <label key={field} class="trace-filter">
          <span class="trace-filter-name">{label}</span>
          <input
            type="search"
            spellcheck={false}
            value={filter[field as keyof typeof TEXTS]}
            onInput={(event) => filterTrace({ [field]: event.currentTarget.value })}
          />
        </label>
      ))}
      <label class="trace-filter">
        <span class="trace-filter-name">Conversation</span>
        <input
          type="search"
          spellcheck={false}
          placeholder="ID or ADDRESS/ID"
          value={conversation.value}
          aria-describedby={conversationError.value === undefined ? undefined : 'trace-fault'}
          onChange={(event) => filterByConversation(event.currentTarget.value)}
        />
      </label>
      {select('type', 'Type', [['', 'All']])}
      {select('code', 'Code', [
        ['', 'All'],
        ['*', 'Any error'],
      ])}
      {isFiltered && (
        <Button
          kind="quiet"
          onClick={() => {
            filterByConversation('');
            filterTrace(NO_FILTER);
          }}
        >
          Clear filters
        </Button>
      )}
      {conversationError.value !== undefined && (
        <p id="trace-fault" class="field-fault" role="alert">
          {faultOf(conversationError.value)}
        </p>
      )}
    </search>
  );
}

/** The values of one filter, with the selected one even if the list was cleared since. */
function optionsOf(filter: TraceFilter, field: 'type' | 'code'): [value: string, text: string][] {
  const values = new Set(field === 'type' ? traceLog.types : traceLog.codes);
  if (filter[field] !== '' && filter[field] !== '*') values.add(filter[field]);
  return [...values].map((value) => [value, value]);
}

function faultOf(error: unknown): string {
  const { code, message } = describeError(error);
  return code === undefined ? message : `${code}: ${message}`;
}
