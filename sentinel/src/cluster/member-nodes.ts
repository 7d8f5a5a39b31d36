// Lists of nodes between sentinels, for `fame ps`. A list is answered in pages, because a message of the bus is bounded.
import type { Clock } from '@fame-fabric/shared';
import { NodeViews, type NodeViewsDeps } from '../http/node-views.ts';
import type { Bus, BusMessage } from './bus.ts';
import type { Inbox } from './inbox.ts';
import type { MemberNodes } from './status.ts';
import type { Subjects } from './subjects.ts';

/** Size at which a page ends, in characters. One more node fits into a message of the bus. */
const PAGE_CHARS = 262_144;
/** Longest wait for all pages of a sentinel, in ms. */
const LIST_MS = 2_000;
/** Maximum number of listed nodes of one sentinel. */
const MAX_NODES = 20_000;

interface Page {
  readonly nodes: readonly unknown[];
  /** Offset of the next page. Absent on the last one. */
  readonly next?: number | undefined;
}

export interface MemberNodesDeps extends Omit<NodeViewsDeps, 'startedAt' | 'uplinks' | 'cluster'> {
  bus: Bus;
  clock: Clock;
  subjects: Subjects;
  inbox: Inbox;
}

export class NodeLists {
  readonly #deps: MemberNodesDeps;
  readonly #views: NodeViews;

  constructor(deps: MemberNodesDeps) {
    this.#deps = deps;
    this.#views = new NodeViews({ ...deps, startedAt: 0, uplinks: [] });
    const { bus, identity, subjects } = deps;
    bus.subscribe(subjects.nodesOf(identity.id), (message) => this.#answer(message));
  }

  #answer({ payload, reply }: BusMessage): void {
    const offset = Number(Buffer.from(payload).toString('utf8'));
    if (reply === '' || !Number.isSafeInteger(offset) || offset < 0) return;
    const nodes: string[] = [];
    let chars = 0;
    let at = 0;
    let next: number | undefined;
    for (const session of this.#deps.table.all()) {
      if (session.kind === 'member' || at++ < offset) continue;
      if (chars >= PAGE_CHARS) {
        next = at - 1;
        break;
      }
      const text = JSON.stringify(this.#views.nodeOf(session));
      nodes.push(text);
      chars += text.length;
    }
    const end = next === undefined ? '' : `,"next":${next}`;
    this.#deps.bus.publish(reply, Buffer.from(`{"nodes":[${nodes.join(',')}]${end}}`));
  }

  /** The nodes of these sentinels. */
  async of(sentinels: readonly string[]): Promise<MemberNodes> {
    const lists = await Promise.all(sentinels.map((id) => this.#listOf(id)));
    return {
      nodes: lists.flatMap((list) => list ?? []),
      missing: sentinels.filter((_, at) => lists[at] === undefined),
    };
  }

  // Resolves `undefined` if the sentinel does not answer in time.
  #listOf(id: string): Promise<unknown[] | undefined> {
    const { clock, inbox, subjects } = this.#deps;
    const { promise, resolve } = Promise.withResolvers<unknown[] | undefined>();
    const nodes: unknown[] = [];
    let end = (): void => {};
    const finish = (list: unknown[] | undefined): void => {
      timer.stop();
      end();
      resolve(list);
    };
    const timer = clock.after(LIST_MS, () => finish(undefined));
    const ask = (offset: number): void => {
      end();
      end = inbox.ask(subjects.nodesOf(id), Buffer.from(String(offset)), (answer) => {
        const page = answer && readPage(answer);
        if (page === undefined) {
          finish(undefined);
          return;
        }
        nodes.push(...page.nodes);
        if (page.next === undefined || nodes.length >= MAX_NODES) finish(nodes);
        else ask(page.next);
      });
    };
    ask(0);
    return promise;
  }
}

function readPage(payload: Uint8Array): Page | undefined {
  try {
    const { nodes, next } = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<Page>;
    if (!Array.isArray(nodes)) return undefined;
    return { nodes, next: typeof next === 'number' ? next : undefined };
  } catch {
    // Not a list of this protocol: the sentinel counts as missing.
    return undefined;
  }
}
