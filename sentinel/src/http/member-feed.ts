// The nodes of the other sentinels in the stream of `/fame/v1/nodes`. While it has readers, it requests the lists of all sentinels of the
// cluster once a second, and sends the nodes whose text differs from that of the last second.
import type { Clock, Timer } from '@fame-fabric/shared';
import type { ListItems } from '../cluster/member-lists.ts';
import type { ClusterView } from '../cluster/status.ts';
import { type FeedReader, sendToReaders } from './feed-readers.ts';
import type { LineStream } from './line-streams.ts';

const INTERVAL_MS = 1_000;
/** Nodes beyond which the interval grows in proportion. A list of 2,000 nodes takes both sentinels together 6 to 12 ms. */
const NODES_IN_INTERVAL = 8_000;

export interface MemberFeedDeps {
  cluster: ClusterView;
  clock: Clock;
}

export class MemberFeed {
  readonly #deps: MemberFeedDeps;
  readonly #readers = new Set<FeedReader>();
  /** The last list of each sentinel, by its id. */
  #lists: ReadonlyMap<string, ListItems> = new Map();
  #missing = '[]';
  #timer: Timer | undefined;
  /** Number of the current loop of requests. It ends with the last reader. */
  #loop = 0;

  constructor(deps: MemberFeedDeps) {
    this.#deps = deps;
  }

  /** Sends all nodes to a reader, and then the changes. Returns the function that ends it. */
  follow(stream: LineStream): () => void {
    const reader: FeedReader = { stream, isBehind: true };
    this.#readers.add(reader);
    if (this.#readers.size === 1) void this.#read(++this.#loop);
    return () => {
      this.#readers.delete(reader);
      if (this.#readers.size > 0) return;
      this.#loop++;
      this.#timer?.stop();
      this.#lists = new Map();
    };
  }

  async #read(loop: number): Promise<void> {
    const { clock, cluster } = this.#deps;
    const { lists: read, missing } = await cluster.nodes();
    if (loop !== this.#loop) return;
    const before = this.#lists;
    // The nodes of a sentinel that did not answer in time are shown until its link is down.
    const kept = missing.flatMap((id) => {
      const list = before.get(id);
      return list === undefined ? [] : [[id, list] as const];
    });
    this.#lists = new Map([...read, ...kept]);
    this.#send(before, JSON.stringify(missing));
    let nodes = 0;
    for (const list of this.#lists.values()) nodes += list.size;
    const waitMs = INTERVAL_MS * Math.max(1, nodes / NODES_IN_INTERVAL);
    this.#timer = clock.after(waitMs, () => void this.#read(loop));
  }

  #send(before: ReadonlyMap<string, ListItems>, missing: string): void {
    const { changed, gone } = differences(before, this.#lists);
    const isChanged = changed.length > 0 || gone.length > 0 || missing !== this.#missing;
    this.#missing = missing;
    const line = isChanged ? this.#line(false, changed, gone) : undefined;
    sendToReaders(this.#readers, line, () =>
      this.#line(true, differences(new Map(), this.#lists).changed, []),
    );
  }

  #line(isComplete: boolean, texts: readonly string[], gone: readonly string[]): string {
    const head = JSON.stringify({ type: 'members', isComplete, t: this.#deps.clock.now(), gone });
    return `${head.slice(0, -1)},"missing":${this.#missing},"nodes":[${texts.join(',')}]}\n`;
  }
}

/** The texts of the nodes that are new or differ, and the paths of those that are gone. */
function differences(
  before: ReadonlyMap<string, ListItems>,
  now: ReadonlyMap<string, ListItems>,
): { changed: string[]; gone: string[] } {
  const changed: string[] = [];
  const gone: string[] = [];
  for (const [id, list] of now) {
    const last = before.get(id);
    for (const [path, text] of list) if (last?.get(path) !== text && isJson(text)) changed.push(text);
  }
  for (const [id, list] of before) {
    const rest = now.get(id);
    for (const path of list.keys()) if (rest?.has(path) !== true) gone.push(path);
  }
  return { changed, gone };
}

// A faulty text would end the streams of all readers.
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
