// Lists that sentinels request from each other: nodes and addresses. A list is answered in pages, because a message of the bus is bounded.
// A page is a line with the offset of the next page, which is empty on the last one, and a line for each item: its key, a space and its
// text. The receiver compares texts without parsing them.
import type { Clock } from '@fame-fabric/shared';
import type { Identity } from '../identity.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { Bus, BusMessage } from './bus.ts';
import type { Inbox } from './inbox.ts';

/** Largest page, in bytes. NATS must permit messages of the size of an envelope, which is a little more. */
export const PAGE_BYTES = 196_608;
/** Longest wait for all pages of a sentinel, in ms. */
const LIST_MS = 2_000;
/** Maximum number of listed items of one sentinel. */
const MAX_ITEMS = 20_000;

/** Texts by key. */
export type ListItems = ReadonlyMap<string, string>;

export interface MemberListsDeps {
  bus: Bus;
  clock: Clock;
  inbox: Inbox;
  identity: Identity;
  table: SessionTable;
}

export interface MemberListsOptions {
  /** Subject of the questions for the list of a sentinel. */
  readonly subjectOf: (id: string) => string;
  /** Items of one node. A key has no space and no line feed, and a text no line feed. */
  readonly itemsOf: (session: Session) => Iterable<readonly [key: string, text: string]>;
}

export class MemberLists {
  readonly #deps: MemberListsDeps;
  readonly #options: MemberListsOptions;

  constructor(deps: MemberListsDeps, options: MemberListsOptions) {
    this.#deps = deps;
    this.#options = options;
    deps.bus.subscribe(options.subjectOf(deps.identity.id), (message) => this.#answer(message));
  }

  #answer({ payload, reply }: BusMessage): void {
    const offset = Number(Buffer.from(payload).toString('utf8'));
    if (reply === '' || !Number.isSafeInteger(offset) || offset < 0) return;
    let page = '';
    let bytes = 0;
    let at = 0;
    let next = '';
    for (const session of this.#deps.table.all()) {
      if (session.kind === 'member' || at++ < offset) continue;
      const [lines, size] = this.#linesOf(session);
      if (bytes > 0 && bytes + size > PAGE_BYTES) {
        next = String(at - 1);
        break;
      }
      page += lines;
      bytes += size;
    }
    this.#deps.bus.publish(reply, Buffer.from(next + page));
  }

  // The lines of one node, and their size in bytes. Further lines of a node that fills a page are left out.
  #linesOf(session: Session): [lines: string, bytes: number] {
    let lines = '';
    let bytes = 0;
    for (const [key, text] of this.#options.itemsOf(session)) {
      const line = `\n${key} ${text}`;
      const size = Buffer.byteLength(line);
      if (bytes + size > PAGE_BYTES) break;
      lines += line;
      bytes += size;
    }
    return [lines, bytes];
  }

  /** Requests the lists of these sentinels. A list is undefined if its sentinel does not answer within 2 s. */
  of(sentinels: readonly string[]): Promise<(ListItems | undefined)[]> {
    return Promise.all(sentinels.map((id) => this.#listOf(id)));
  }

  #listOf(id: string): Promise<ListItems | undefined> {
    const { clock, inbox } = this.#deps;
    const { promise, resolve } = Promise.withResolvers<ListItems | undefined>();
    const items = new Map<string, string>();
    let end = (): void => {};
    const finish = (list: ListItems | undefined): void => {
      timer.stop();
      end();
      resolve(list);
    };
    const timer = clock.after(LIST_MS, () => finish(undefined));
    const ask = (offset: string): void => {
      end();
      end = inbox.ask(this.#options.subjectOf(id), Buffer.from(offset), (answer) => {
        if (answer === undefined) {
          finish(undefined);
          return;
        }
        const [next, ...lines] = Buffer.from(answer).toString('utf8').split('\n');
        for (const line of lines) {
          const space = line.indexOf(' ');
          if (space > 0) items.set(line.slice(0, space), line.slice(space + 1));
        }
        // An offset that does not grow would repeat a page without end.
        if (!(Number(next) > Number(offset)) || items.size >= MAX_ITEMS) finish(items);
        else ask(next!);
      });
    };
    ask('0');
    return promise;
  }
}
