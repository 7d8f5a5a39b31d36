// The filters of the trace. Each applies while the person types.
import { useState } from 'preact/hooks';
import { filterTrace, traceLog, traceVersion } from '../../fabric/trace.ts';
import { NO_FILTER, type TraceFilter } from '../../fabric/trace-log.ts';
import { Button } from '../../parts/form.tsx';

const TEXTS = {
  address: 'Address',
  node: 'Node',
  call: 'Call',
} as const;

export function Filters() {
  // A select closes while its options change, so they are read when the person opens it.
  const [options, setOptions] = useState({ types: traceLog.types, codes: traceLog.codes });
  traceVersion.value;
  const { filter } = traceLog;
  const isFiltered = Object.values(filter).some((value) => value !== '');
  const refresh = (): void => setOptions({ types: traceLog.types, codes: traceLog.codes });
  const select = (field: 'type' | 'code', label: string, any: readonly [value: string, text: string][]) => (
    <label>
      <span>{label}</span>
      <select
        value={filter[field]}
        onPointerDown={refresh}
        onFocus={refresh}
        onChange={(event) => filterTrace({ [field]: event.currentTarget.value })}
      >
        {[...any, ...optionsOf(options, filter, field)].map(([value, text]) => (
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
        <label key={field}>
          <span>{label}</span>
          <input
            type="search"
            spellcheck={false}
            value={filter[field as keyof typeof TEXTS]}
            onInput={(event) => filterTrace({ [field]: event.currentTarget.value })}
          />
        </label>
      ))}
      {select('type', 'Type', [['', 'All']])}
      {select('code', 'Code', [
        ['', 'All'],
        ['*', 'Any error'],
      ])}
      {isFiltered && (
        <Button kind="quiet" onClick={() => filterTrace(NO_FILTER)}>
          Clear filters
        </Button>
      )}
    </search>
  );
}

/** The values of one filter, with the selected one even if the list was cleared since. */
function optionsOf(
  { types, codes }: { types: readonly string[]; codes: readonly string[] },
  filter: TraceFilter,
  field: 'type' | 'code',
): [value: string, text: string][] {
  const values = new Set(field === 'type' ? types : codes);
  if (filter[field] !== '' && filter[field] !== '*') values.add(filter[field]);
  return [...values].map((value) => [value, value]);
}
