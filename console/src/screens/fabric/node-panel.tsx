// The panel of one node.
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { NodeView } from '../../fabric/nodes.ts';
import { Button } from '../../parts/form.tsx';
import { bytesText, countText, rateText } from '../../parts/format.ts';
import { Tag, type Tone } from '../../parts/notices.tsx';
import { Facts } from '../../parts/page.tsx';
import { Bytes, Count, Time } from '../../parts/values.tsx';
import { nodeName } from './graph-cards.ts';
import { NodeActions } from './node-actions.tsx';
import type { NodeHistory } from './node-history.ts';
import { sparkline } from './node-history.ts';
import { type ShownState, shownState, stateText } from './node-state.ts';

const TONES: Readonly<Record<ShownState, Tone>> = {
  attached: 'ok',
  busy: 'accent',
  away: 'warning',
  draining: 'warning',
  gone: 'failure',
};

export interface NodePanelProps {
  node: NodeView;
  /** Id of its sentinel. Undefined if the sentinel of the page is in no cluster. */
  sentinel: string | undefined;
  history: NodeHistory;
  /** Time since the list arrived, in ms. */
  ageMs: number;
  /** True if the person may disconnect and drain nodes. */
  isAdmin: boolean;
  /** True for the node that this page is. */
  isOwn: boolean;
  onClose: () => void;
}

export function NodePanel({ node, sentinel, history, ageMs, isAdmin, isOwn, onClose }: NodePanelProps) {
  const state = shownState(node);
  const { limits, traffic } = node;
  return (
    <SidePanel title={isOwn ? 'This page' : nodeName(node)} onClose={onClose}>
      <p>
        <Tag tone={TONES[state]}>{stateText(node, ageMs)}</Tag>
      </p>
      {isOwn && <p class="muted">The client with which this page calls agents.</p>}
      <Traffic node={node} history={history} />
      <Facts
        facts={{
          Path: <code>{node.path}</code>,
          Sentinel: sentinel,
          Principal: node.principal,
          Software: node.software ?? 'not reported',
          Kind: node.kind,
          Attached: <Since iso={node.since} />,
          Addresses: <Names names={node.addresses} none="none: this node only calls others" />,
          Capabilities: <Names names={node.capabilities} none="none" />,
          Queue: (
            <Bounded
              value={node.queuedBytes}
              limit={limits?.queueBytes}
              text={bytesText}
              detail={`, ${countText(node.queuedMessages)} messages`}
            />
          ),
          'Open calls': <Bounded value={node.openCalls} limit={limits?.openCalls} text={countText} />,
          'Calls it serves': <Count value={node.serving} />,
          'Paused senders':
            (node.withheldGrants ?? 0) > 0 ? (
              <span>
                <Count value={node.withheldGrants ?? 0} /> flows wait until this node reads
              </span>
            ) : undefined,
          Received: traffic && (
            <span>
              <Count value={traffic.messagesOut} /> messages, <Bytes value={traffic.bytesOut} />
            </span>
          ),
          Sent: traffic && (
            <span>
              <Count value={traffic.messagesIn} /> messages, <Bytes value={traffic.bytesIn} />
            </span>
          ),
        }}
      />
      <Refusals node={node} history={history} />
      {isAdmin && state !== 'gone' && <NodeActions node={node} />}
    </SidePanel>
  );
}

export interface SidePanelProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

/** A panel beside the graph. Escape closes it. Its title gets the focus when it opens. */
export function SidePanel({ title, onClose, children }: SidePanelProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  // Before the next event, so that the focus does not leave an element that the person has just reached.
  useLayoutEffect(() => heading.current?.focus(), [title]);
  const onKeyDown = (event: KeyboardEvent): void => {
    // In a dialog, Escape closes the dialog.
    const isInDialog = (event.target as Element).closest('dialog') !== null;
    if (event.key !== 'Escape' || event.defaultPrevented || isInDialog) return;
    event.preventDefault();
    onClose();
  };
  return (
    <aside class="panel fabric-panel" aria-label={title} onKeyDown={onKeyDown}>
      <div class="panel-head">
        <h2 ref={heading} tabIndex={-1}>
          {title}
        </h2>
        <Button kind="quiet" onClick={onClose}>
          Close
        </Button>
      </div>
      {children}
    </aside>
  );
}

const SPARK_WIDTH = 240;
const SPARK_HEIGHT = 40;

function Traffic({ node, history }: Pick<NodePanelProps, 'node' | 'history'>) {
  if (node.traffic === undefined) return null;
  const messages = history.messagesOf(node.path);
  const { messagesIn, messagesOut, bytes } = history.rateOf(node.path);
  const now = rateText(messagesIn + messagesOut);
  const top = rateText(Math.max(0, ...messages));
  const line = sparkline(messages, SPARK_WIDTH, SPARK_HEIGHT - 2);
  return (
    <figure class="fabric-spark">
      <figcaption>
        <strong>{rateText(messagesIn + messagesOut, 'messages')}</strong>, {bytesText(bytes)}/s.{' '}
        <span class="muted">Highest in the last minute: {top}</span>
      </figcaption>
      <svg
        viewBox={`0 -1 ${SPARK_WIDTH} ${SPARK_HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Messages per second in the last minute: now ${now}, highest ${top}`}
      >
        <path d={line} />
      </svg>
    </figure>
  );
}

function Refusals({ node, history }: Pick<NodePanelProps, 'node' | 'history'>) {
  const seen = history.refusalsOf(node.path);
  const refusals = seen.length > 0 ? seen : node.lastRefusal ? [node.lastRefusal] : [];
  return (
    <section class="fabric-refusals">
      <h3>Last refusals</h3>
      {refusals.length === 0 ? (
        <p class="muted">None.</p>
      ) : (
        <ul>
          {refusals.map(({ code, t }) => (
            <li key={t}>
              <Tag tone="failure">{code}</Tag> <Time t={t} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Names({ names, none }: { names: readonly string[]; none: string }) {
  if (names.length === 0) return <span class="muted">{none}</span>;
  return (
    <ul class="fabric-names">
      {names.map((name) => (
        <li key={name}>
          <code>{name}</code>
        </li>
      ))}
    </ul>
  );
}

interface BoundedProps {
  value: number;
  /** Undefined if the sentinel does not report it. */
  limit: number | undefined;
  text: (value: number) => string;
  detail?: string;
}

/** A value against its limit, as a bar and as text. */
function Bounded({ value, limit, text, detail = '' }: BoundedProps) {
  if (!limit) return <span>{text(value) + detail}</span>;
  const words = `${text(value)} of ${text(limit)}${detail}`;
  const part = Math.min(1, value / limit);
  return (
    <span class="fabric-bounded">
      <span>{words}</span>
      <span
        class="fabric-bar"
        aria-hidden="true"
        data-level={part >= 0.9 ? 'failure' : part >= 0.6 ? 'warning' : 'ok'}
      >
        <span style={{ width: `${part * 100}%` }} />
      </span>
    </span>
  );
}

function Since({ iso }: { iso: string }) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return <span class="muted">not reported</span>;
  return <time dateTime={iso}>{date.toLocaleString()}</time>;
}
