// Commands to paste: `curl` lines for the operations of an agent, with parameters that match their schema.
import type { AgentCard, AgentOperation, JsonSchema } from '../fabric/agent-card.ts';
import type { FastifyRequest } from '../fastify.ts';

const MAX_DEPTH = 3;

/** The URL of the port as the client reached it, without a slash at its end. */
export const baseUrlOf = (request: FastifyRequest, publicUrl: string | undefined): string =>
  publicUrl ?? `${request.protocol}://${request.host}`;

/** Path of an agent, or of one of its operations. Addresses may contain slashes. */
export const pathOf = (address: string, operation?: string): string => {
  const agent = encodeURIComponent(address).replaceAll('%40', '@');
  return `/agents/${agent}${operation === undefined ? '' : `/${encoded(operation)}`}`;
};

/** An operation may have slashes, and no character that ends the path or a text in quotes. */
const encoded = (operation: string): string =>
  encodeURI(operation).replace(/[?#']/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** True for a URL without characters that a shell treats in another way. */
const isPlain = (url: string): boolean => /^[\w\-.~:/@%+=,]*$/.test(url);

/** Returns a command that calls the operation. */
export function curlOf(
  base: string,
  { address, isChat }: Pick<AgentCard, 'address' | 'isChat'>,
  operation: AgentOperation,
): string {
  const stream = operation.isStreaming ? ` -N -H 'Accept: text/event-stream'` : '';
  const isTurn = isChat && /^run_turn(?:_stream)?$/.test(operation.name);
  const params = isTurn ? { user_message: 'Hello' } : (sampleOf(operation.params ?? {}) ?? {});
  const body = JSON.stringify(params).replaceAll("'", "'\\''");
  const url = base + pathOf(address, operation.name);
  return `curl -s${stream} ${isPlain(url) ? url : `'${url}'`} -d '${body}'`;
}

/** Returns a value that matches the required part of a schema, for the keywords that this function knows. */
function sampleOf(schema: JsonSchema, depth = 0): unknown {
  if (typeof schema !== 'object' || schema === null) return null;
  const { type, enum: values, default: fallback, anyOf, examples, const: only } = schema;
  if (only !== undefined) return only;
  if (fallback !== undefined) return fallback;
  if (Array.isArray(examples) && examples.length > 0) return examples[0];
  if (Array.isArray(values)) return values[0];
  if (Array.isArray(anyOf)) return sampleOf(anyOf[0] as JsonSchema, depth);
  switch (Array.isArray(type) ? type[0] : type) {
    case 'string':
      return 'text';
    case 'number':
    case 'integer':
      return typeof schema.minimum === 'number' ? Math.max(1, schema.minimum) : 1;
    case 'boolean':
      return true;
    case 'array':
      return [];
    case 'object':
      return depth >= MAX_DEPTH ? {} : objectOf(schema, depth);
    default:
      return null;
  }
}

function objectOf({ properties, required }: JsonSchema, depth: number): Record<string, unknown> {
  const schemas = (properties ?? {}) as Readonly<Record<string, JsonSchema>>;
  const names = Array.isArray(required) ? (required as string[]) : [];
  return Object.fromEntries(
    names.map((name) => [name, Object.hasOwn(schemas, name) ? sampleOf(schemas[name]!, depth + 1) : null]),
  );
}
