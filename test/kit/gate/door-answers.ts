// Reads the answer of a door: allowed, or a refusal in the form of its protocol.
import type { DoorName } from './door-verbs.ts';

// biome-ignore lint/suspicious/noExplicitAny: the fields of answers are checked below
type Json = any;

export interface DoorAnswer {
  /** `allowed`, or the HTTP status and the code of the refusal. */
  readonly outcome: string;
  /** The body, or the first event of a stream. */
  readonly text: string;
  /** Faults in the form of a refusal. */
  readonly faults: readonly string[];
}

/** Reads the status, and the body or the first event with an outcome. Leaves a stream after it. */
export async function answerOf(door: DoorName, response: Response): Promise<DoorAnswer> {
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') ?? false;
  const text = isStream ? await firstEvent(response) : await response.text();
  const body: Json = text === '' ? undefined : JSON.parse(text);
  const code = codeOf(door, body, response.status);
  if (code === undefined)
    return {
      outcome: 'allowed',
      text,
      faults: response.ok ? [] : [`status ${response.status} without an error: ${text}`],
    };
  const faults = [];
  if (response.status === 401 && response.headers.get('www-authenticate') !== 'Bearer')
    faults.push('401 without WWW-Authenticate');
  if (!/^application\/(?:\w+\+)?json\b/.test(response.headers.get('content-type') ?? '') && !isStream)
    faults.push(`content type ${response.headers.get('content-type')}`);
  if (code === '') faults.push(`not the form of ${door}: ${text}`);
  return { outcome: `${response.status} ${code}`, text, faults };
}

async function firstEvent(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    for (const block of text.split('\n\n').slice(0, -1)) {
      const data = /^data: ?(.*)$/m.exec(block)?.[1];
      // Notifications of MCP come before the response.
      if (data !== undefined && data !== '' && !/^\{[^}]*"method":"notifications/.test(data)) return data;
    }
  }
  throw new Error(`The stream ended without an event: ${text}`);
}

/** The code of a refusal; empty if it does not have the form of the protocol. Undefined for any other answer. */
function codeOf(door: DoorName, body: Json, status: number): string | undefined {
  switch (door) {
    case 'Chat Completions':
    case 'Responses': {
      const error = body?.type === 'error' ? body.error : body?.error;
      if (error === undefined || error === null) return undefined;
      const hasForm = [error.message, error.type, error.code].every((one) => typeof one === 'string');
      return hasForm && Object.hasOwn(error, 'param') ? error.code : '';
    }
    case 'A2A JSON-RPC':
    case 'A2A HTTP+JSON':
    case 'A2A 0.3':
      return a2aCode(body);
    case 'MCP 2026-07-28':
    case 'MCP 2025-11-25': {
      const failed = body?.result?.isError ? body.result._meta?.['fame/error'] : undefined;
      if (failed) return `tool ${failed.code}`;
      if (body?.error === undefined) return undefined;
      const { code, message, data } = body.error;
      return body.jsonrpc === '2.0' && Number.isInteger(code) && typeof message === 'string'
        ? `${code}${data?.code === undefined ? '' : ` ${data.code}`}`
        : '';
    }
    case 'HTTP': {
      if (body?.error === undefined) return undefined;
      const { code, message, retryable } = body.error;
      const hasForm = typeof code === 'string' && typeof message === 'string';
      return hasForm && typeof retryable === 'boolean' ? code : '';
    }
    case 'gateway': {
      if (body?.ok !== false) return undefined;
      const hasForm = typeof body.error === 'string' && (status > 404 || typeof body.code === 'string');
      return hasForm ? body.errorCode : '';
    }
  }
}

/** `google.rpc.Status`, or the error of JSON-RPC with the same details. */
function a2aCode(body: Json): string | undefined {
  if (body?.error === undefined) return undefined;
  const { code, message, details, data } = body.error;
  const info = (details ?? data)?.find?.(
    (one: Json) => one['@type'] === 'type.googleapis.com/google.rpc.ErrorInfo',
  );
  if (!Number.isInteger(code) || typeof message !== 'string') return '';
  return info ? `${info.reason}${info.metadata?.code ? ` ${info.metadata.code}` : ''}` : String(code);
}
