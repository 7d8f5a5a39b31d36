// Many clients in one process. Arguments: their number, and the admission URLs in the order in which each client tries them. Prints the
// number of attached clients as a line of JSON after each change, and ends with its standard input.
import { connect } from '@fame-fabric/client/node';

const [count, url, ...otherUrls] = process.argv.slice(2) as [string, string, ...string[]];
/** Clients that attach at the same time at the start. */
const AT_ONCE = 32;
const REPORT_MS = 100;

let attached = 0;
let reported = -1;
let left = Number(count);

async function open(): Promise<void> {
  while (left-- > 0) {
    const client = await connect({ url, otherUrls, connectTimeoutMs: 60_000 });
    attached++;
    let isAttached = true;
    client.onState((state) => {
      if (isAttached === (state === 'attached')) return;
      isAttached = !isAttached;
      attached += isAttached ? 1 : -1;
    });
  }
}

setInterval(() => {
  if (attached === reported) return;
  reported = attached;
  process.stdout.write(`${JSON.stringify({ attached })}\n`);
}, REPORT_MS);
process.stdin.resume().once('end', () => process.exit());
await Promise.all(Array.from({ length: AT_ONCE }, open));
