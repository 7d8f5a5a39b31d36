// The JSON-RPC binding: reads a request, and calls the transport of its version.

import { checkDepth } from '../shared/json-depth.ts';
import type { RequestHandler } from './request-handler.ts';
import {
  A2A_ERROR_CODE,
  JsonRpcTransportHandler,
  LegacyJsonRpcTransportHandler,
  ServerCallContext,
  toJsonRpcError,
} from './sdk.ts';
import type { Version } from './version.ts';

export interface JsonRpcResponse {
  jsonrpc: string;
  id: string | number | null;
  result?: unknown;
  error?: unknown;
}

export interface JsonRpcRequest extends Record<string, unknown> {
  readonly id?: string | number | null;
  readonly method: string;
}

const failure = (code: number, message: string): JsonRpcResponse => ({
  jsonrpc: '2.0',
  id: null,
  error: { code, message },
});

/** Reads the body of a request. Returns the error response for a body that is not a JSON-RPC request. @throws {PROTO_TOO_DEEP} */
export function readRequest(body: string): { request: JsonRpcRequest } | { response: JsonRpcResponse } {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return { response: failure(A2A_ERROR_CODE.PARSE_ERROR, 'Invalid JSON payload') };
  }
  checkDepth(value);
  const { jsonrpc, method, id } = Object(value) as Record<string, unknown>;
  const isId = id === undefined || id === null || typeof id === 'string' || Number.isInteger(id);
  if (jsonrpc !== '2.0' || typeof method !== 'string' || method === '' || !isId || Array.isArray(value))
    return { response: failure(A2A_ERROR_CODE.INVALID_REQUEST, 'Request payload validation error') };
  return { request: value as JsonRpcRequest };
}

/** The response to a request that failed. */
export const errorResponse = (
  { id }: Pick<JsonRpcRequest, 'id'>,
  error: unknown,
  version: Version | undefined,
): JsonRpcResponse => ({
  jsonrpc: '2.0',
  id: id ?? null,
  error:
    version === '0.3' ? LegacyJsonRpcTransportHandler.mapToLegacyJSONRPCError(error) : toJsonRpcError(error),
});

/** Handles a request. Returns its response, or a stream of responses that throws an error of the task. */
export async function handleJsonRpc(
  handler: RequestHandler,
  request: JsonRpcRequest,
  version: Version,
): Promise<JsonRpcResponse | AsyncGenerator<JsonRpcResponse, void, undefined>> {
  const Transport = version === '0.3' ? LegacyJsonRpcTransportHandler : JsonRpcTransportHandler;
  const context = new ServerCallContext({ requestedVersion: version });
  const result = await new Transport(handler).handle(request, context);
  if (Symbol.asyncIterator in result || Object(result.error).code !== A2A_ERROR_CODE.METHOD_NOT_FOUND)
    return result;
  return { ...result, error: { ...Object(result.error), message: unknownMethod(request.method, version) } };
}

/** The methods of 1.0 have names such as SendMessage, those of 0.3 such as message/send. */
function unknownMethod(method: string, version: Version): string {
  const text = `A2A ${version} has no method ${method.slice(0, 64)}`;
  if (version === '0.3' && /^[A-Z]/.test(method))
    return `${text}. For 1.0, send the header A2A-Version: 1.0.`;
  return version === '1.0' && method.includes('/')
    ? `${text}. For 0.3, send the header A2A-Version: 0.3.`
    : text;
}
