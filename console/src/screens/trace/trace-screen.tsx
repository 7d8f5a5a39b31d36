// The live trace: envelopes as they pass the sentinel and the others of its cluster, with filters, and the story of one call.
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { href, navigate } from '../../app/router.ts';
import { nameOfPath } from '../../fabric/name-of-path.ts';
import { fabricView, nodesSource } from '../../fabric/nodes.ts';
import { useSource } from '../../fabric/shared-source.ts';
import {
  clearTrace,
  pauseTrace,
  resumeTrace,
  traceLog,
  traceStatus,
  traceVersion,
  useTrace,
} from '../../fabric/trace.ts';
import { filterByConversation, startConversationFilter } from '../../fabric/trace-conversation.ts';
import { callOf, type TraceRow } from '../../fabric/trace-log.ts';
import { Button } from '../../parts/form.tsx';
import { bytesText, countText, timeText } from '../../parts/format.ts';
import { Dot, Empty, Problem, Tag, type Tone } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { Cell, HeaderCell, VirtualList } from '../../parts/virtual-list.tsx';
import { Filters } from './filters.tsx';
import { StoryPanel } from './story-panel.tsx';
import './trace.css';

/**
 * `#/trace` shows the list, `#/trace/CALL` also the story of one call, and `#/trace/conversation/ADDRESS/ID` the messages of one
 * conversation.
 */
export function TraceScreen({ args }: { args: readonly string[] }) {
  useTrace();
  useSource(nodesSource);
  useEffect(startConversationFilter, []);
  const [first, address, id] = args;
  const isConversation = first === 'conversation' && id !== undefined;
  const call = isConversation ? undefined : first;
  useEffect(() => {
    if (isConversation) filterByConversation(`${address}/${id}`);
  }, [isConversation, address, id]);
  return (
    <Page title="Trace" isFull actions={<Controls />}>
      <div class={`trace ${call === undefined ? '' : 'trace-split'} ${isCluster() ? 'trace-cluster' : ''}`}>
        <div class="trace-main">
          <Filters />
          <Status />
          <Rows call={call} />
        </div>
        {call !== undefined && <StoryPanel call={call} />}
      </div>
    </Page>
  );
}

/** True while the list scrolls with new rows. */
const isFollowing = signal(true);

function Controls() {
  const { isPaused } = traceStatus.value;
  return (
    <>
      <Button aria-pressed={isPaused} onClick={isPaused ? resumeTrace : pauseTrace}>
        Pause
      </Button>
      <Button
        aria-pressed={isFollowing.value}
        onClick={() => {
          isFollowing.value = !isFollowing.value;
        }}
      >
        Follow
      </Button>
      <Button kind="quiet" onClick={clearTrace}>
        Clear
      </Button>
    </>
  );
}

function Status() {
  const { isOpen, isPaused, whilePaused, missed, error } = traceStatus.value;
  traceVersion.value;
  const state: [Tone, string] = isPaused
    ? ['warning', `Paused, ${countText(whilePaused)} not kept`]
    : isOpen
      ? ['ok', 'Live']
      : ['warning', 'Connecting'];
  return (
    <>
      {error !== undefined && <Problem error={error} />}
      <p class="trace-status muted">
        <span>
          <Dot tone={state[0]} /> {state[1]}
        </span>
        <span>
          {countText(traceLog.matching.length)} of {countText(traceLog.rows.length)} messages
        </span>
        {missed > 0 && <span>{countText(missed)} left out by the sentinel, because they came too fast</span>}
      </p>
    </>
  );
}

const ROW_HEIGHT = 30;

function Rows({ call }: { call: string | undefined }) {
  traceVersion.value;
  if (traceLog.rows.length === 0) {
    return (
      <Empty title="No messages yet">
        <p>
          Every message that passes the sentinel appears here: its type, its way and its size, never its
          content. Send one from <a href={href('talk')}>Talk</a>.
        </p>
      </Empty>
    );
  }
  return (
    <VirtualList
      label="Messages"
      rows={traceLog.matching}
      rowHeight={ROW_HEIGHT}
      rowKey={({ seq }) => seq}
      renderRow={Row}
      header={<Header />}
      removedRows={traceLog.removed}
      isFollowing={isFollowing.value}
      onFollow={(value) => {
        isFollowing.value = value;
      }}
      onOpen={(row) => {
        const id = callOf(row);
        isFollowing.value = false;
        if (id !== undefined) navigate(['trace', id], { replace: call !== undefined });
      }}
      isOpen={(row) => call !== undefined && callOf(row) === call}
    />
  );
}

const COLUMNS = ['Time', 'Type', 'From', 'To', 'Receiver', 'Sentinel', 'Size', 'Code'];

const isCluster = (): boolean => fabricView.value?.cluster !== undefined;

const Header = () => (
  <>
    {COLUMNS.filter((name) => name !== 'Sentinel' || isCluster()).map((name) => (
      <HeaderCell key={name} class={`trace-${name.toLowerCase()}`}>
        {name}
      </HeaderCell>
    ))}
  </>
);

const TONES: Readonly<Record<TraceRow['dir'], Tone>> = {
  forward: 'ok',
  refuse: 'failure',
  drop: 'warning',
  control: 'quiet',
};

const Row = ({ t, dir, type, from, to, via, sentinel, bytes, code }: TraceRow) => (
  <>
    <Cell class="trace-time">{timeText(t)}</Cell>
    <Cell class="trace-type">
      <Dot tone={TONES[dir]} label={dir} /> {type}
    </Cell>
    <Cell class="trace-from" title={from}>
      {nameOfPath(from)}
    </Cell>
    <Cell class="trace-to" title={to}>
      {to}
    </Cell>
    <Cell class="trace-receiver" title={via}>
      {via === undefined ? '' : nameOfPath(via)}
    </Cell>
    {isCluster() && (
      <Cell class="trace-sentinel" title={sentinel ?? fabricView.value!.sentinel.path}>
        {sentinel === undefined ? fabricView.value!.sentinel.id : nameOfPath(sentinel)}
      </Cell>
    )}
    <Cell class="trace-size">{bytesText(bytes)}</Cell>
    <Cell class="trace-code">{code && <Tag tone="failure">{code}</Tag>}</Cell>
  </>
);
