// Frees the memory of messages that have left. A message that is passed on unread makes almost no garbage in the heap, only
// a block outside of it; V8 counts such blocks, but looks for dead ones in the young generation only when the heap asks
// for it, and when they add up it marks the whole heap instead: at 64 KB a message that took 58 % of the router's time,
// with a full collection every 20 ms. A collection of the young generation after every 4 MB costs 0.2 ms and finds them all.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const EVERY_BYTES = 4_194_304;

// Collected so often, the young generation is small each time: one thread is done before its helpers have woken up, and on
// busy cores they are waited for. Without them 2 s of messages of 64 KB took 600 futex calls instead of 3,400.
setFlagsFromString('--no-parallel-scavenge');

type Collect = (options: { type: 'minor' }) => void;

let passedBytes = 0;
let collect: Collect | undefined;

/** Counts bytes that were received; every 4 MB the young generation is collected. */
export function countPassed(bytes: number): void {
  passedBytes += bytes;
  if (passedBytes < EVERY_BYTES) return;
  passedBytes = 0;
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as Collect;
    setFlagsFromString('--no-expose-gc');
  }
  collect({ type: 'minor' });
}
