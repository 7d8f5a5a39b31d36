// The sentinel's HTTP side as the client reads it: who is attached, is it well, what passes. Plain fetch, no retries: these
// are questions a person asks, and the answer "not reachable" is an answer.
import { FabricError } from '@fame-fabric/shared';

/** Answer of `GET /fame/v1/nodes`. */
export interface NodeList {
  sentinel: { id: string; path: string; version: string; uptimeMs: number };
  nodes: readonly AttachedNode[];
}

export interface AttachedNode {
  id: string;
  path: string;
  kind: string;
  state: string;
  /** ISO 8601. */
  since: string;
  addresses: readonly string[];
  capabilities: readonly string[];
  queuedMessages: number;
  queuedBytes: number;
  /** Calls that this node made and waits for. */
  openCalls: number;
}

/** One line of `GET /fame/v1/trace`: the metadata of an envelope that passed. */
export interface TraceLine {
  /** Milliseconds since the epoch. */
  t: number;
  /** `forward`, `refuse` or `control`. */
  dir: string;
  type: string;
  from: string;
  to: string;
  /** Path of the node it went to. */
  via?: string;
  corrId?: string;
  bytes: number;
  code?: string;
  /** Instead of all the others: so many envelopes passed that this reader was too slow for. */
  missed?: number;
}

const REPLY_TIMEOUT_MS = 5_000;

/** Fetches JSON from the sentinel. @throws {LINK_TIMEOUT} when nobody answers; {LINK_REFUSED} when it is no sentinel */
export async function getJson(origin: string, path: string, timeoutMs = REPLY_TIMEOUT_MS): Promise<unknown> {
  const response = await request(origin, path, AbortSignal.timeout(timeoutMs));
  try {
    return await response.json();
  } catch (cause) {
    throw new FabricError('LINK_REFUSED', `${origin} answers, but not as a Fame Fabric sentinel does`, {
      cause,
    });
  }
}

export const getNodes = async (origin: string, timeoutMs?: number): Promise<NodeList> =>
  (await getJson(origin, '/fame/v1/nodes', timeoutMs)) as NodeList;

/** Lines of the live trace, until `signal` aborts or the sentinel ends it. `onOpen`: from now on it sees what passes. */
export async function* traceLines(
  origin: string,
  signal: AbortSignal,
  onOpen: () => void,
): AsyncGenerator<TraceLine> {
  const response = await request(origin, '/fame/v1/trace', signal);
  if (!response.body) return;
  onOpen();
  let rest = '';
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as TraceLine;
  }
}

async function request(origin: string, path: string, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(new URL(path, origin), { signal });
  } catch (cause) {
    throw new FabricError('LINK_TIMEOUT', `No sentinel answers at ${origin}`, { cause });
  }
  if (response.ok) return response;
  await response.body?.cancel();
  const what = response.status === 404 ? 'does not know' : `answers ${response.status} to`;
  throw new FabricError('LINK_REFUSED', `${origin} ${what} ${path}: it is not a sentinel of this version`);
}
