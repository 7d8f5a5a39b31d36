// The stream of changes of `/fame/v1/nodes`. Once a second, while it has readers, it compares numbers of each session with those of the
// last second, and builds the view of a session only if they differ. All readers get the same line.
import type { Clock, Timer } from '@fame-fabric/shared';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import { type FeedReader, sendToReaders } from './feed-readers.ts';
import type { LineStream } from './line-streams.ts';
import type { NodeViews } from './node-views.ts';

const INTERVAL_MS = 1_000;
/** Longest comparison after which the next second is not skipped: with many nodes the feed takes at most a twentieth of the time. */
const MAX_COST_MS = 50;

/** Numbers of a session. One of them changes with each change of its view. */
interface Marks {
  seen: number;
  state: string;
  isDraining: boolean;
  received: number;
  sent: number;
  queued: number;
  withheld: number;
  made: number;
  serving: number;
  addresses: number;
  refusedAt: number;
}

export interface NodeFeedDeps {
  views: NodeViews;
  table: SessionTable;
  bindings: { addressesOf(session: Session): ReadonlySet<string> | undefined };
  calls: { madeCount(session: Session): number; servingCount(session: Session): number };
  clock: Clock;
}

export class NodeFeed {
  readonly #deps: NodeFeedDeps;
  readonly #readers = new Set<FeedReader>();
  readonly #marks = new Map<Session, Marks>();
  /** The links to other sentinels, as text. */
  #links = '';
  #round = 0;
  #skipped = 0;
  #timer: Timer | undefined;

  constructor(deps: NodeFeedDeps) {
    this.#deps = deps;
  }

  /** Sends all nodes to a reader, and then the changes. Returns the function that ends it. */
  follow(stream: LineStream): () => void {
    const reader: FeedReader = { stream, isBehind: false };
    if (this.#readers.size === 0) this.#compare();
    this.#readers.add(reader);
    this.#timer ??= this.#deps.clock.every(INTERVAL_MS, () => this.#tick());
    stream.push(this.#snapshot());
    return () => {
      this.#readers.delete(reader);
      if (this.#readers.size > 0) return;
      this.#timer?.stop();
      this.#timer = undefined;
      this.#marks.clear();
    };
  }

  #snapshot(): string {
    return `${JSON.stringify({ type: 'snapshot', ...this.#deps.views.list() })}\n`;
  }

  #tick(): void {
    const { clock } = this.#deps;
    if (this.#skipped > 0) {
      this.#skipped--;
      return;
    }
    const startedAt = clock.monotonic();
    const { changed, gone, isChanged } = this.#compare();
    const line = isChanged ? this.#line(changed, gone) : undefined;
    sendToReaders(this.#readers, line, () => this.#snapshot());
    this.#skipped = Math.floor((clock.monotonic() - startedAt) / MAX_COST_MS);
  }

  #line(changed: readonly Session[], gone: readonly string[]): string {
    const { clock, views } = this.#deps;
    const links = { uplinks: views.uplinks(), cluster: views.cluster() };
    const head = { type: 'changes', t: clock.now(), sentinel: views.sentinel(), ...links };
    return `${JSON.stringify({ ...head, nodes: changed.map((session) => views.nodeOf(session)), gone })}\n`;
  }

  #compare(): { changed: Session[]; gone: string[]; isChanged: boolean } {
    const { table, views } = this.#deps;
    const seen = ++this.#round;
    const changed: Session[] = [];
    for (const session of table.all()) {
      const before = this.#marks.get(session);
      const marks = this.#marksOf(session, seen);
      this.#marks.set(session, marks);
      if (before === undefined || isDifferent(before, marks)) changed.push(session);
    }
    const gone: string[] = [];
    if (this.#marks.size > table.size) {
      for (const [session, marks] of this.#marks) {
        if (marks.seen === seen) continue;
        this.#marks.delete(session);
        // A new session may have its path.
        if (table.byPath(session.path) === undefined) gone.push(session.path);
      }
    }
    const links = JSON.stringify([views.uplinks(), views.cluster()]);
    const isChanged = changed.length > 0 || gone.length > 0 || links !== this.#links;
    this.#links = links;
    return { changed, gone, isChanged };
  }

  #marksOf(session: Session, seen: number): Marks {
    const { bindings, calls } = this.#deps;
    const { outbound, received, refusal, state } = session;
    return {
      seen,
      state,
      isDraining: session.isDraining,
      received,
      sent: outbound.sent,
      queued: outbound.bytes,
      withheld: outbound.withheldGrants,
      made: calls.madeCount(session),
      serving: calls.servingCount(session),
      addresses: bindings.addressesOf(session)?.size ?? 0,
      refusedAt: refusal?.at ?? 0,
    };
  }
}

const isDifferent = (a: Marks, b: Marks): boolean =>
  a.state !== b.state ||
  a.isDraining !== b.isDraining ||
  a.received !== b.received ||
  a.sent !== b.sent ||
  a.queued !== b.queued ||
  a.withheld !== b.withheld ||
  a.made !== b.made ||
  a.serving !== b.serving ||
  a.addresses !== b.addresses ||
  a.refusedAt !== b.refusedAt;
