// The call of an operation that is not a turn: one answer, or the items of a stream.
import type { Client } from '@fame-fabric/client';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import { encodeOperationState } from './ids.ts';
import type { ProgressReporter } from './progress.ts';
import { errorResult, resultOf } from './results.ts';
import {
  type CallToolResult,
  type DeclaredCapabilities,
  type InputRequiredResult,
  isInputRequiredResult,
  ProtocolError,
  ProtocolErrorCode,
} from './sdk.ts';
import { CLIENT_SIDE, type ToolTarget } from './tool-table.ts';

/** Time limit for an answer, or for each item, in ms. */
const TIMEOUT_MS = 600_000;
/** Maximum total size of the items of a stream, in characters of JSON. */
const MAX_ITEMS_CHARS = 1_048_576;
const MAX_PROGRESS_CHARS = 1_000;

export interface OperationCaller {
  readonly client: Client;
  readonly signal: AbortSignal;
  readonly progress: ProgressReporter | undefined;
  /** Id of the call: a durable operation runs once for each. @default a new id */
  readonly callId?: string | undefined;
  readonly side: ClientSide;
}

/** The value of the parameter `_mcp`, for an operation that declares it. */
export interface ClientSide {
  /** Capabilities that the client declared. The operation may ask for what they allow. */
  readonly capabilities: DeclaredCapabilities;
  /** Responses to the requests that the operation returned, by their keys. They come from the client unchecked. */
  readonly inputResponses?: Readonly<Record<string, unknown>> | undefined;
  /** The `requestState` that the operation returned. A client can change it, so sign it if changes would be harmful. */
  readonly requestState?: string | undefined;
}

/** Calls an operation. Errors of the agent are results; nothing is thrown but the reason of an abort, and a refused state. */
export async function callOperation(
  { address, operation, kind, takesClientSide }: ToolTarget,
  args: Record<string, unknown>,
  { client, signal, progress, callId, side }: OperationCaller,
): Promise<CallToolResult | InputRequiredResult> {
  const options = { timeoutMs: TIMEOUT_MS, signal, id: callId };
  const params = takesClientSide ? { ...args, [CLIENT_SIDE]: side } : args;
  try {
    if (kind === 'stream')
      return itemsResult(await collect(client.stream(address, operation, params, options), progress));
    const answer = await client.call(address, operation, params, options);
    return takesClientSide && isInputRequiredResult(answer) ? questionOf(answer) : resultOf(answer);
  } catch (error) {
    if (signal.aborted) throw error;
    // The operation refused the state, which the client may have changed: an error of the protocol.
    if (takesClientSide && side.requestState !== undefined && isFabricError(error, 'PARAMS_INVALID'))
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, error.message);
    return errorResult(error);
  }
}

/** Requests of an operation to the client. The library checks them against the capabilities of the client. */
const questionOf = ({ inputRequests, requestState }: InputRequiredResult): InputRequiredResult => ({
  resultType: 'input_required',
  ...(inputRequests ? { inputRequests } : {}),
  ...(typeof requestState === 'string' ? { requestState: encodeOperationState(requestState) } : {}),
});

async function collect(
  stream: AsyncIterable<unknown>,
  progress: ProgressReporter | undefined,
): Promise<unknown[]> {
  const items: unknown[] = [];
  let size = 0;
  for await (const item of stream) {
    const text = JSON.stringify(item);
    size += text.length;
    if (size > MAX_ITEMS_CHARS)
      throw new FabricError(
        'MESSAGE_TOO_LARGE',
        `The items of the stream have more than ${MAX_ITEMS_CHARS} characters.`,
      );
    items.push(item);
    if (progress) report(progress, item, text);
  }
  return items;
}

/** An item `{ progress, total?, message? }` is progress by itself. */
function report(reporter: ProgressReporter, item: unknown, text: string): void {
  const { progress, total, message } = (item ?? {}) as Record<string, unknown>;
  if (typeof progress === 'number' && Number.isFinite(progress)) {
    reporter.value(
      progress,
      typeof total === 'number' ? total : undefined,
      typeof message === 'string' ? message : undefined,
    );
  } else if (typeof item === 'string') reporter.text(item);
  else reporter.note(text.slice(0, MAX_PROGRESS_CHARS));
}

/** Joins text items. */
const itemsResult = (items: unknown[]): CallToolResult =>
  items.length > 0 && items.every((item) => typeof item === 'string')
    ? resultOf(items.join(''))
    : { content: [{ type: 'text', text: JSON.stringify(items) }], structuredContent: { items } };
