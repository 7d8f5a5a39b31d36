// The bars of a turn over a common scale, with their figures as text.
import type { ComponentChildren } from 'preact';
import type { Bar, Timeline } from '../../fabric/conversation/bars.ts';
import { durationText } from '../../parts/format.ts';
import { visibleText } from '../../parts/markdown.tsx';
import { Count, Duration, Money } from '../../parts/values.tsx';

export function Bars({ timeline: { bars, restarts, totalMs } }: { timeline: Timeline }) {
  const percent = (ms: number): string => `${(ms / totalMs) * 100}%`;
  return (
    <div class="bars">
      {/* No caption: a hidden one takes the first row, from which a fixed layout reads the widths. */}
      <table aria-label={`Time of the turn, ${durationText(totalMs)} in all`}>
        <tbody>
          {bars.map((bar) => (
            <tr key={bar.key} class={bar.isFailed ? 'bar-failed' : undefined}>
              <th scope="row">
                <span class="bar-kind">{KINDS[bar.kind]}</span> <span class="bar-label">{labelOf(bar)}</span>
              </th>
              <td class="bar-track" aria-hidden="true">
                <div class="track">
                  {bar.segments.map(({ from, to, kind }) => (
                    <span
                      key={`${kind}${from}`}
                      class={`segment segment-${kind}${bar.isOpen ? ' segment-open' : ''}`}
                      style={{ left: percent(from), width: percent(to - from) }}
                    />
                  ))}
                  {restarts.map(({ at }) => (
                    <span key={at} class="restart-line" style={{ left: percent(at) }} />
                  ))}
                </div>
              </td>
              <td class="bar-figures">
                <Figures bar={bar} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {restarts.map(({ at, restart: { attempt, withdrawnChars } }) => (
        <p key={at} class="turn-mark">
          {attempt === 0 ? 'Written again' : 'Agent restarted'} after <Duration ms={at} />
          {attempt !== undefined && attempt > 0 && `, attempt ${attempt}`}
          {withdrawnChars > 0 && `; ${withdrawnChars} characters were withdrawn`}
        </p>
      ))}
    </div>
  );
}

const KINDS: Readonly<Record<Bar['kind'], string>> = {
  inbox: 'Inbox',
  model: 'Model',
  tool: 'Tool',
  journal: 'Journal',
};

/** Inbox and journal have no label of their own. */
const labelOf = ({ kind, label }: Bar): string =>
  kind === 'model' || kind === 'tool' ? visibleText(label) : '';

function Figures({ bar: { ms, isOpen, isFailed, call, run } }: { bar: Bar }) {
  const tokens = call?.usage;
  const figures: ComponentChildren[] = [
    <>
      <Duration ms={ms} />
      {isOpen && '…'}
    </>,
  ];
  if (call?.firstTokenMs !== undefined) {
    figures.push(
      <>
        first token <Duration ms={call.firstTokenMs} />
      </>,
    );
  }
  if (tokens?.prompt_tokens !== undefined) {
    figures.push(
      <>
        <Count value={tokens.prompt_tokens} /> in, <Count value={tokens.completion_tokens ?? 0} /> out
      </>,
    );
  }
  if (typeof call?.cost === 'object') figures.push(<Money {...call.cost} />);
  if (call && isFailed) figures.push('no reply');
  if (run && run.state !== 'done') figures.push(run.state);
  return figures.flatMap((figure, index) => (index === 0 ? [figure] : [' · ', figure]));
}
