// JSON-RPC 2.0 over Fame: requests and replies are payloads of Data frames, matched by the envelope's corrId. Defines their
// types, the five forms of parameters, and the mapping between FabricError codes and JSON-RPC numbers.
import { errorOfCode, isAgentCode } from '../errors/agent-error.ts';
import { ERRORS, type ErrorCode, isErrorCode } from '../errors/codes.ts';
import { FabricError } from '../errors/error.ts';

export interface RpcRequest {
  jsonrpc: '2.0';
  id: string | number;
  method: string;
  params?: unknown;
}
export interface RpcErrorBody {
  code: number;
  message: string;
  data?: unknown;
}
export interface RpcReply {
  jsonrpc: '2.0';
  id: string | number | null;
  result?: unknown;
  error?: RpcErrorBody;
}

// Numbers of JSON-RPC and of the A2A task methods. All other codes have the number -32000 and differ in `data.code`.
const RPC_NUMBER: Partial<Record<string, number>> = {
  REQUEST_INVALID: -32600,
  METHOD_NOT_FOUND: -32601,
  PARAMS_INVALID: -32602,
  TASK_EXISTS: -32602,
  INTERNAL: -32603,
  TASK_UNKNOWN: -32001,
  TASK_NOT_CANCELABLE: -32002,
  OPERATION_UNSUPPORTED: -32004,
  MODEL_RATE_LIMITED: -32029,
  QUOTA_EXCEEDED: -32029,
} satisfies Partial<Record<ErrorCode, number>>;
const CODE_OF_NUMBER = new Map<number, ErrorCode>([
  [-32700, 'REQUEST_INVALID'],
  [-32600, 'REQUEST_INVALID'],
  [-32601, 'METHOD_NOT_FOUND'],
  [-32602, 'PARAMS_INVALID'],
  [-32603, 'INTERNAL'],
  [-32001, 'TASK_UNKNOWN'],
  [-32002, 'TASK_NOT_CANCELABLE'],
  [-32003, 'OPERATION_UNSUPPORTED'],
  [-32004, 'OPERATION_UNSUPPORTED'],
]);

const fieldsOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

export const isRpcRequest = (payload: unknown): payload is RpcRequest => {
  const { jsonrpc, method } = fieldsOf(payload);
  return jsonrpc === '2.0' && typeof method === 'string';
};

export const isRpcReply = (payload: unknown): payload is RpcReply => {
  const { jsonrpc, method } = fieldsOf(payload);
  return jsonrpc === '2.0' && method === undefined;
};

/** True if the payload claims to be JSON-RPC 2.0: one object, or a batch. */
export const claimsRpc = (payload: unknown): boolean =>
  Array.isArray(payload) ? payload.some(claimsRpcOne) : claimsRpcOne(payload);

const claimsRpcOne = (value: unknown): boolean => fieldsOf(value).jsonrpc === '2.0';

/** True if the payload has a result or an error, even beside a method, or is a batch of answers. It is never answered. */
export const isRpcAnswer = (payload: unknown): boolean =>
  Array.isArray(payload)
    ? payload.length > 0 && payload.every((item) => isRpcReply(item) || hasOutcome(item))
    : hasOutcome(payload);

const hasOutcome = (value: unknown): boolean => {
  const { jsonrpc, result, error } = fieldsOf(value);
  return jsonrpc === '2.0' && (result !== undefined || error !== undefined);
};

/** The JSON-RPC id of a payload. `undefined` for a notification, and for an id that is neither a text nor a number. */
export function rpcIdOf(payload: unknown): string | number | undefined {
  const { id } = fieldsOf(payload);
  return typeof id === 'string' || typeof id === 'number' ? id : undefined;
}

/** Creates a request. It always has `params`: a Python node of naylence does not answer a request without them. */
export const rpcRequest = (id: string | number, method: string, params: unknown): RpcRequest => ({
  jsonrpc: '2.0',
  id,
  method,
  params: params ?? {},
});
export const rpcResult = (id: string | number, result: unknown): RpcReply => ({
  jsonrpc: '2.0',
  id,
  result: result ?? null,
});

/** Creates the error reply for `error`. An error that is not a FabricError becomes INTERNAL with `logId`, without its message. */
export function rpcError(id: string | number, error: unknown, logId?: string): RpcReply {
  if (error instanceof FabricError) {
    return {
      jsonrpc: '2.0',
      id,
      error: {
        code: RPC_NUMBER[error.code] ?? -32000,
        message: error.message,
        data: {
          code: error.code,
          retryable: error.retryable,
          details: error.details,
        },
      },
    };
  }
  const message = logId
    ? `The operation failed. The id of its log entry is ${logId}`
    : 'The operation failed';
  return {
    jsonrpc: '2.0',
    id,
    error: { code: -32603, message, data: { code: 'INTERNAL', retryable: false } },
  };
}

/** Creates the error reply to a request that was refused before anything was executed, so that its caller may repeat it. */
export function rpcRefusal(id: string | number, error: FabricError): RpcReply {
  const reply = rpcError(id, error);
  (reply.error!.data as Record<string, unknown>).executed = false;
  return reply;
}

/** True if an error reply states that nothing was executed. */
export const isRefusal = ({ data }: RpcErrorBody): boolean => fieldsOf(data).executed === false;

/** Converts an error reply of any Fame node to a FabricError. */
export function errorOfReply(error: RpcErrorBody): FabricError {
  const data = fieldsOf(error.data);
  const details = fieldsOf(data.details);
  const retryable = typeof data.retryable === 'boolean' ? data.retryable : undefined;
  // The reply comes from another node, so the message may have any type.
  const message = typeof error.message === 'string' ? error.message : undefined;
  if (isAgentCode(data.code)) {
    return errorOfCode(data.code, message ?? `The agent failed with ${data.code}.`, {
      retryable,
      ...(Object.keys(details).length > 0 ? { details } : {}),
    });
  }
  const code = isErrorCode(data.code) ? data.code : (CODE_OF_NUMBER.get(error.code) ?? 'INTERNAL');
  const text = message ?? ERRORS[code].when;
  // A Python node of naylence has the cause as text in `data`.
  const cause = typeof error.data === 'string' && error.data ? `: ${error.data}` : '';
  return new FabricError(code, text + cause, {
    retryable,
    details: { rpcCode: error.code, ...details },
  });
}

/** Normalized parameters of a call: positional, by name, or both. */
export interface CallParams {
  args: unknown[];
  named: Record<string, unknown>;
}

/**
 * Normalizes the five forms of parameters: none, one object, `{args}`, `{args, kwargs}`, a JSON-RPC array. `{args: []}` means
 * no arguments.
 * @throws {PARAMS_INVALID} for any other value, such as a number
 */
export function readParams(params: unknown): CallParams {
  if (params === undefined || params === null) return { args: [], named: {} };
  if (Array.isArray(params)) return { args: params, named: {} };
  if (typeof params !== 'object') {
    throw new FabricError('PARAMS_INVALID', 'params must be an object or an array');
  }
  const record = params as Record<string, unknown>;
  const keys = Object.keys(record);
  const isCallForm = keys.length > 0 && keys.every((key) => key === 'args' || key === 'kwargs');
  const { args, kwargs } = record;
  const argsFit = args === undefined || Array.isArray(args);
  const kwargsFit =
    kwargs === undefined || (typeof kwargs === 'object' && kwargs !== null && !Array.isArray(kwargs));
  if (isCallForm && argsFit && kwargsFit) {
    return { args: (args as unknown[]) ?? [], named: (kwargs as Record<string, unknown>) ?? {} };
  }
  return { args: [], named: record };
}
