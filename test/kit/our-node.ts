// Our nodes inside the test process: links over real WebSockets, and a small service that answers by operation name.
import { type IncomingCall, Link, type LinkOptions, readParams, type Service } from '@fame-fabric/shared';
import { sidOf, wsDial } from '@fame-fabric/shared/node';

const open = new Set<Link>();

/** A connected link. `closeLinks` closes it. */
export async function connectLink(url: string, options: Partial<LinkOptions> = {}): Promise<Link> {
  const link = new Link({ url, dial: wsDial, sidOf, ...options });
  open.add(link);
  await link.connect();
  return link;
}

export async function closeLinks(): Promise<void> {
  const links = [...open];
  open.clear();
  await Promise.all(links.map((link) => link.close()));
}

type Operation = (args: readonly unknown[], call: IncomingCall) => unknown;

/** The arguments of a call in any of the usual forms; named ones become one last object. */
const argsOf = (params: unknown): readonly unknown[] => {
  const { args, named } = readParams(params);
  return Object.keys(named).length > 0 ? [...args, named] : args;
};

/** Serves each operation; one that returns an async iterable is a stream, which is pushed item by item. */
export function serviceOf(operations: Record<string, Operation>): Service {
  return {
    onCall: (call) => {
      void answer(call, operations[call.method]);
    },
  };
}

async function answer(call: IncomingCall, operation: Operation | undefined): Promise<void> {
  try {
    if (!operation) throw new Error(`Unknown operation ${call.method}`);
    const result = await operation(argsOf(call.params), call);
    if (!call.isStream) {
      call.reply(result);
      return;
    }
    for await (const item of result as AsyncIterable<unknown>) {
      if (call.signal.aborted) return;
      await call.push(item);
    }
    call.end();
  } catch (error) {
    if (!call.signal.aborted) call.fail(error);
  }
}

/** The operations of the peer's math agent, served by our node. */
export const mathService = (): Service =>
  serviceOf({
    add: ([x, y]) => (typeof x === 'object' ? (x as Pair).x + (x as Pair).y : (x as number) + (y as number)),
    echo: ([value]) => value ?? null,
    fail: ([text]) => {
      throw new Error(String(text));
    },
    async *fib_stream([n]) {
      let [a, b] = [0, 1];
      for (let i = 0; i < (n as number); i++) {
        yield a;
        [a, b] = [b, a + b];
      }
    },
    async *count([n]) {
      for (let i = 1; i <= (n as number); i++) yield i;
    },
  });

interface Pair {
  x: number;
  y: number;
}
