// Two conversations side by side: the part that both share, folded, and then each further exchange in its column.
import { href } from '../../app/router.ts';
import type { FeedView } from '../../fabric/conversation/feed.ts';
import { isOver } from '../../fabric/conversation/turns.ts';
import { Markdown, PlainText, visibleText } from '../../parts/markdown.tsx';
import { Empty, Problem } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { Count, Duration, Money } from '../../parts/values.tsx';
import { compare, type Exchange, exchangesOf } from './align.ts';
import { useFeed } from './conversation-view.tsx';
import { stateTag } from './states.tsx';

export function CompareView({
  address,
  ids: [first, second],
}: {
  address: string;
  ids: readonly [string, string];
}) {
  const views = [useFeed(address, first).view.value, useFeed(address, second).view.value] as const;
  const [left, right] = views.map(({ start, turns }) => exchangesOf(start, turns)) as [
    Exchange[],
    Exchange[],
  ];
  const { common, rows } = compare(left, right);
  const isLoaded = views.every(({ status }) => status === 'ready' || status === 'ended');
  return (
    <Page
      title="Compare"
      actions={
        <a class="button" href={href('conversations', address, first)}>
          Back to the timeline
        </a>
      }
    >
      <div class="compare-head">
        <Head address={address} id={first} view={views[0]} />
        <Head address={address} id={second} view={views[1]} />
      </div>
      {!isLoaded && views.every(({ status }) => status !== 'failed' && status !== 'new') && (
        <p class="muted">Loading…</p>
      )}
      {common.length > 0 && (
        <details class="panel">
          <summary>
            {common.length} {common.length === 1 ? 'exchange' : 'exchanges'} in common
          </summary>
          {common.map((exchange, index) => (
            <ExchangeView key={index} exchange={exchange} />
          ))}
        </details>
      )}
      {isLoaded && rows.length === 0 && <Empty title="Both conversations have the same messages" />}
      {rows.map((row, index) => (
        <div key={index} class="compare-row">
          <Cell exchange={row.left} />
          <Cell exchange={row.right} />
        </div>
      ))}
    </Page>
  );
}

const Head = ({ address, id, view }: { address: string; id: string; view: FeedView }) => (
  <div>
    <h2>
      <a href={href('conversations', address, id)}>{visibleText(id)}</a>
    </h2>
    {view.status === 'failed' && <Problem error={view.error} />}
    {view.status === 'new' && <p class="muted">The agent does not have this conversation.</p>}
    {view.status === 'away' && <p class="muted">The agent does not answer. The page waits for it.</p>}
  </div>
);

const Cell = ({ exchange }: { exchange: Exchange | undefined }) => (
  <div class="panel">
    {exchange ? <ExchangeView exchange={exchange} /> : <p class="muted">No further turn.</p>}
  </div>
);

const ExchangeView = ({ exchange: { question, answer, turn } }: { exchange: Exchange }) => (
  <>
    <div class="quote">
      <PlainText text={question} />
    </div>
    <Markdown text={answer} />
    {turn && (
      <p class="turn-figures muted">
        {isOver(turn) ? stateTag(turn.state) : 'running'}
        {turn.durationMs != null && (
          <span>
            <Duration ms={turn.durationMs} />
          </span>
        )}
        {turn.usage?.total_tokens !== undefined && (
          <span>
            <Count value={turn.usage.total_tokens} /> tokens
          </span>
        )}
        {typeof turn.cost === 'object' && (
          <span>
            <Money {...turn.cost} />
          </span>
        )}
        {turn.model && <span>{visibleText(turn.model)}</span>}
      </p>
    )}
  </>
);
