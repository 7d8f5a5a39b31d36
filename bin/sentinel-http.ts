// A client for the HTTP endpoints of a sentinel: attached nodes, readiness, live trace. It does not retry, because commands
// report an unreachable sentinel at once. It does not validate replies, so escape their texts before printing.
import { FabricError, isFabricError } from '@fame-fabric/shared';
import { cutText, tlsFault } from '@fame-fabric/shared/internal';
import type { AdmissionToken } from '@fame-fabric/shared/node';

/** The sentinel to ask. */
export interface SentinelHttp {
  /** HTTP origin, followed by the path of a proxy before the sentinel, without a slash at its end. */
  readonly httpUrl: string;
  readonly token: AdmissionToken;
}

/** Reply of `GET /fame/v1/nodes`. */
export interface NodeList {
  sentinel: {
    id: string;
    path: string;
    version: string;
    uptimeMs: number;
    /** Absent in lists of older sentinels. */
    queues?: { queuedBytes: number; socketBytes: number; limitBytes: number; totalLimitBytes: number };
  };
  nodes: readonly AttachedNode[];
  /** Connections to a parent and to peers. Absent in lists of older sentinels. */
  uplinks?: readonly Uplink[] | undefined;
  /** Absent if the sentinel is in no cluster. */
  cluster?: ClusterView | undefined;
  /** Ids of sentinels of the cluster whose nodes are not listed, because they did not answer. */
  missing?: readonly string[] | undefined;
}

/** The cluster as the sentinel sees it. */
export interface ClusterView {
  name: string;
  /** `connected`, or `alone` without NATS. */
  state: string;
  /** Why NATS is not connected. */
  reason?: string | undefined;
  members: readonly { id: string; path: string; software: string }[];
  /** Sentinels whose link was lost within the last 10 minutes. */
  lost?: readonly { id: string }[] | undefined;
}

/** Describes the cluster in a line. Escape it before printing. */
export function clusterText({ name, state, reason, members, lost = [] }: ClusterView): string {
  if (state !== 'connected') return `${name}, NATS is not reached: ${reason ?? 'unknown reason'}`;
  const idsOf = (sentinels: readonly { id: string }[]): string => sentinels.map(({ id }) => id).join(', ');
  const linked = members.length === 0 ? 'no other sentinel' : `linked to ${idsOf(members)}`;
  return `${name}, ${linked}${lost.length === 0 ? '' : `, lost ${idsOf(lost)}`}`;
}

export interface Uplink {
  /** `parent` or `peer`. */
  kind: string;
  url: string;
  /** `attached` or `connecting`. */
  state: string;
  /** Why the last attempt failed. */
  reason?: string | undefined;
}

/** Describes an uplink in a line. Escape it before printing. */
export const uplinkText = ({ url, state, reason }: Uplink): string =>
  state === 'attached' ? `${url}, attached` : `${url}, not reached${reason ? `: ${reason}` : ''}`;

interface AttachedNode {
  id: string;
  path: string;
  kind: string;
  state: string;
  /** Owner of the session: `local` or `anonymous`. Absent in the reply of an older sentinel. */
  principal?: string;
  /** ISO 8601. */
  since: string;
  addresses: readonly string[];
  capabilities: readonly string[];
  queuedMessages: number;
  /** With the overhead of each message. */
  queuedBytes: number;
  /** Number of flows whose sender waits until this node has read more. Absent in lists of older sentinels. */
  withheldGrants?: number;
  /** Number of calls of this node without a complete reply. */
  openCalls: number;
}

/** One line of `GET /fame/v1/trace`: the metadata of an envelope. */
export interface TraceLine {
  /** ms since the epoch. */
  t: number;
  /** `forward`, `refuse` or `control`. */
  dir: string;
  type: string;
  from: string;
  to: string;
  /** Path of the node that received the envelope. */
  via?: string;
  corrId?: string;
  bytes: number;
  code?: string;
  /** Path of the sentinel that recorded the line, if that is another one of the cluster. */
  sentinel?: string;
  /** The only field of a line that reports a gap: the number of lines dropped because this reader was too slow. */
  missed?: number;
}

const REPLY_TIMEOUT_MS = 5_000;
const READY_TIMEOUT_MS = 2_000;

/**
 * Requests the nodes of the sentinel, with `isOfCluster` also those of the other sentinels of its cluster.
 * @throws {LINK_TIMEOUT} if no server answers
 * @throws {LINK_REFUSED} if the server is not a sentinel
 * @throws {AUTH_MISSING | AUTH_INVALID} without its key. @throws {AUTH_FORBIDDEN} if the role of the key is not sufficient
 */
export async function getNodes(
  sentinel: SentinelHttp,
  { timeoutMs = REPLY_TIMEOUT_MS, isOfCluster = false } = {},
): Promise<NodeList> {
  const path = isOfCluster ? '/fame/v1/nodes?scope=cluster' : '/fame/v1/nodes';
  const response = await request(sentinel, path, AbortSignal.timeout(timeoutMs));
  try {
    return (await response.json()) as NodeList;
  } catch (cause) {
    throw new FabricError('LINK_REFUSED', `The server at ${sentinel.httpUrl} is not a Fame Fabric sentinel`, {
      cause,
    });
  }
}

/** A one-time link that signs a browser in, with the permissions of the key that requested it. */
export interface SignInLink {
  url: string;
  /** ISO 8601. */
  expiresAt: string;
}

/** Requests a sign-in link. @throws as `getNodes`. @throws {LINK_REFUSED} if the sentinel serves no console */
export async function createSignInLink(sentinel: SentinelHttp): Promise<SignInLink> {
  const signal = AbortSignal.timeout(REPLY_TIMEOUT_MS);
  const response = await request(sentinel, '/fame/v1/sign-in-links', signal, 'POST');
  return (await response.json()) as SignInLink;
}

/** True if the sentinel admits nodes. */
export async function isReady(httpUrl: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
    const response = await fetch(`${httpUrl}/readyz`, { signal });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // not started yet
  }
}

/** Returns those of `addresses` that attached nodes serve. @throws {AUTH_MISSING | AUTH_INVALID} without the key of the sentinel */
export async function servedOf(sentinel: SentinelHttp, addresses: readonly string[]): Promise<string[]> {
  try {
    const { nodes } = await getNodes(sentinel);
    const served = new Set(nodes.flatMap((node) => (node.state === 'attached' ? node.addresses : [])));
    return addresses.filter((address) => served.has(address));
  } catch (error) {
    if (isAuthError(error)) throw error;
    return []; // not started yet
  }
}

/** True if attached nodes serve all `addresses`. @throws {AUTH_MISSING | AUTH_INVALID} without the key of the sentinel */
export const areServed = async (sentinel: SentinelHttp, addresses: readonly string[]): Promise<boolean> =>
  (await servedOf(sentinel, addresses)).length === addresses.length;

/** True if a sentinel answered, and did not accept the key or its absence. */
export const isAuthError = (error: unknown): boolean =>
  isFabricError(error, 'AUTH_MISSING') || isFabricError(error, 'AUTH_INVALID');

/**
 * Yields the lines of the live trace until `signal` aborts, the sentinel ends it, or the connection breaks. Calls `onOpen` when the
 * trace begins.
 */
export async function* traceLines(
  sentinel: SentinelHttp,
  signal: AbortSignal,
  onOpen: () => void,
): AsyncGenerator<TraceLine> {
  const response = await request(sentinel, '/fame/v1/trace', signal);
  if (!response.body) return;
  onOpen();
  let rest = '';
  const pieces = response.body.pipeThrough(new TextDecoderStream()).values();
  try {
    for (;;) {
      const { done, value } = await pieces.next().catch((error: unknown) => {
        if (signal.aborted) throw error;
        return { done: true, value: undefined } as const; // the sentinel was killed
      });
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as TraceLine;
    }
  } finally {
    await pieces.return?.().catch(() => undefined);
  }
}

async function request(
  { httpUrl, token }: SentinelHttp,
  path: string,
  signal: AbortSignal,
  method = 'GET',
): Promise<Response> {
  const key = await token.read();
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  let response: Response;
  try {
    response = await fetch(`${httpUrl}${path}`, { method, headers, signal });
  } catch (cause) {
    const fault = tlsFault(cause);
    if (fault !== undefined) throw new FabricError('LINK_REFUSED', `${httpUrl}: ${fault}`, { cause });
    if (isParseFault(cause as Error)) {
      const text = `The server at ${httpUrl} is not a Fame Fabric sentinel: its answer is not HTTP`;
      throw new FabricError('LINK_REFUSED', text, { cause });
    }
    throw new FabricError('LINK_TIMEOUT', `No sentinel answers at ${httpUrl}`, { cause });
  }
  if (response.ok) return response;
  const refusal = await refusalIn(response);
  if (response.status === 401)
    throw token.refusal(key === undefined ? 'AUTH_MISSING' : 'AUTH_INVALID', refusal?.message);
  if (refusal !== undefined && response.status !== 404) {
    const { code, message } = refusal;
    const text = `The sentinel at ${httpUrl} refused ${path} (${response.status} ${code}): ${message}`;
    // RFC 6750: the key is valid, and its role is not sufficient. Other 403s are about the Origin or Host of the request.
    const isRole = response.headers.get('www-authenticate')?.includes('insufficient_scope') ?? false;
    throw new FabricError(isRole ? 'AUTH_FORBIDDEN' : 'LINK_REFUSED', text, {
      details: { status: response.status, code, ...(isRole ? { fix: '' } : {}) },
    });
  }
  throw new FabricError(
    'LINK_REFUSED',
    `The server at ${httpUrl} is not a sentinel of this version: it answered ${response.status} to ${path}`,
  );
}

/** True for an error of `fetch` about an answer that its HTTP parser refused. */
const isParseFault = ({ cause }: { cause?: unknown }): boolean =>
  cause instanceof Error && cause.name === 'HTTPParserError';

const MAX_REFUSAL_BYTES = 65_536;
const MAX_REASON_CHARS = 300;

/** Reads the body of a refusal by a sentinel, `{ error: { code, message } }`. Returns undefined for any other body. */
async function refusalIn(response: Response): Promise<{ code: string; message: string } | undefined> {
  let text = '';
  try {
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += piece;
      if (text.length > MAX_REFUSAL_BYTES) return undefined;
    }
    const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } };
    if (typeof error?.code !== 'string' || typeof error.message !== 'string') return undefined;
    return { code: cutText(error.code, 64), message: cutText(error.message, MAX_REASON_CHARS) };
  } catch {
    return undefined; // not JSON, or the connection broke
  }
}
