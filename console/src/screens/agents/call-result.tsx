// The result of a call, or the items of a stream as they arrive.
import { Code } from '../../parts/code.tsx';
import { Problem, Tag, type Tone } from '../../parts/notices.tsx';
import { Duration } from '../../parts/values.tsx';
import type { Run } from './call-run.ts';

/** Longest text of one value. */
const MAX_CHARS = 50_000;

const valueText = (value: unknown): string => {
  if (value === undefined) return 'null';
  const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2);
  const left = text.length - MAX_CHARS;
  return left > 0 ? `${text.slice(0, MAX_CHARS)}\n… ${left} more characters` : text;
};

const TONES: Readonly<Record<Exclude<Run['state'], 'idle'>, Tone>> = {
  running: 'accent',
  done: 'ok',
  cancelled: 'warning',
  failed: 'failure',
};

export function CallResult({ run }: { run: Run }) {
  if (run.state === 'idle') return null;
  const { state, isStream, items, count, ms, error } = run;
  const hidden = count - items.length;
  return (
    <section class="agents-result" aria-label="Result">
      <p class="agents-actions" role="status">
        <Tag tone={TONES[state]}>{state}</Tag>
        {isStream && <span>{count === 1 ? '1 item' : `${count} items`}</span>}
        {state !== 'running' && <Duration ms={Math.round(ms)} />}
      </p>
      {error !== undefined && <Problem error={error} />}
      {!isStream && items[0] && <Code label="Result" text={valueText(items[0].value)} />}
      {isStream && items.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: long streams scroll, also by the keyboard
        <section class="agents-items" tabIndex={0} aria-label="Items">
          {hidden > 0 && <p class="muted">The first {hidden} items are not shown.</p>}
          <ol start={hidden + 1}>
            {items.map(({ number, afterMs, value }) => (
              <li key={number}>
                <span class="muted">
                  <Duration ms={Math.round(afterMs)} />
                </span>
                <code>{typeof value === 'string' ? JSON.stringify(value) : itemText(value)}</code>
              </li>
            ))}
          </ol>
        </section>
      )}
    </section>
  );
}

const MAX_ITEM_CHARS = 2_000;
const itemText = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'null';
  return text.length > MAX_ITEM_CHARS ? `${text.slice(0, MAX_ITEM_CHARS)}…` : text;
};
