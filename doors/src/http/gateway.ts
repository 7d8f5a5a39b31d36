// Calls and messages over HTTP for gateway clients of naylence, with the paths, fields, limits, statuses and codes of naylence's gateway.
// `errorCode` is an addition of Fame Fabric.
import { type CallTarget, FabricError, isFabricError, tryParseAddress } from '@fame-fabric/shared';
import type { DoorDeps } from '../door.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import type { FastifyInstance, FastifyPluginAsync } from '../fastify.ts';
import { leftSignal } from '../shared/left-signal.ts';
import { statusOf } from '../shared/status.ts';

const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_TIMEOUT_MS = 120_000;
const MAX_METHOD_CHARS = 256;
const MAX_ADDRESS_CHARS = 512;
const MAX_TYPE_CHARS = 256;
const MAX_CAPABILITIES = 16;
const MAX_CAPABILITY_CHARS = 256;

/** Codes of naylence, by status. Other errors of naylence have no code. */
const CODE_OF_STATUS: Readonly<Record<number, string>> = {
  400: 'invalid_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  429: 'queue_full',
  504: 'timeout',
};
/** Statuses of naylence's gateway. Any other error is 500. */
const STATUSES: ReadonlySet<number> = new Set([400, 401, 403, 404, 429, 503, 504]);

export function gatewayRoutes(app: FastifyInstance, deps: DoorDeps): void {
  void app.register(gateway(deps), { prefix: '/fame/v1/gateway' });
}

const gateway =
  ({ fabric }: DoorDeps): FastifyPluginAsync =>
  async (app) => {
    app.setErrorHandler(async (error, _request, reply) => {
      // The door reports and logs other errors.
      if (!isFabricError(error)) throw error;
      const { status, body } = gatewayError(error);
      if (status === 401) reply.header('www-authenticate', 'Bearer');
      return reply.code(status).send(body);
    });

    app.get('/health', async () => ({ status: 'healthy', listenerType: 'AgentHttpGatewayListener' }));

    app.post('/rpc', async (request, reply) => {
      const visitor = await visitorOf(fabric, request, reply);
      const fields = fieldsOf(request.body);
      const target = targetOf(fields);
      const method = textOf('method', fields.method, MAX_METHOD_CHARS);
      const options = { timeoutMs: timeoutOf(fields.timeoutMs), signal: leftSignal(reply) };
      const result = await visitor.client.call(target, method, fields.params ?? {}, options);
      return { ok: true, result };
    });

    app.post('/messages', async (request, reply) => {
      const visitor = await visitorOf(fabric, request, reply);
      const fields = fieldsOf(request.body);
      const target = targetOf(fields);
      const { payload } = fields;
      const type = fields.type === undefined ? undefined : textOf('type', fields.type, MAX_TYPE_CHARS);
      if (type === undefined && payload === undefined) throw invalid('Give a type, a payload or both');
      if (typeof target !== 'string') {
        const text = 'Messages are sent to a targetAddr. Only calls can be sent to capabilities';
        throw new FabricError('OPERATION_UNSUPPORTED', text);
      }
      await visitor.client.send(target, { type, payload });
      return reply.code(202).send({ status: 'message_accepted' });
    });
  };

/** Writes an error as naylence's gateway does. */
function gatewayError(error: FabricError): { status: number; body: unknown } {
  const { code: errorCode, message } = error;
  const given = statusOf(error);
  const status = STATUSES.has(given) ? given : 500;
  // A body that cannot be read has no code there.
  const code = errorCode === 'REQUEST_INVALID' ? undefined : CODE_OF_STATUS[status];
  return { status, body: { ok: false, error: message, code, errorCode } };
}

type Fields = Readonly<Record<string, unknown>>;

/** @throws {REQUEST_INVALID} */
function fieldsOf(body: unknown): Fields {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Fields;
  throw invalid('The body must be an object');
}

/** @throws {REQUEST_INVALID} */
function targetOf({ targetAddr, capabilities }: Fields): CallTarget {
  if (targetAddr !== undefined && targetAddr !== '') {
    const address = textOf('targetAddr', targetAddr, MAX_ADDRESS_CHARS);
    if (tryParseAddress(address) === undefined) throw invalid(`targetAddr "${address}" is not an address`);
    return address;
  }
  const isList =
    Array.isArray(capabilities) &&
    capabilities.length > 0 &&
    capabilities.length <= MAX_CAPABILITIES &&
    capabilities.every((one) => typeof one === 'string' && one !== '' && one.length <= MAX_CAPABILITY_CHARS);
  if (isList) return { capabilities };
  const limits = `1 to ${MAX_CAPABILITIES} texts of at most ${MAX_CAPABILITY_CHARS} characters`;
  throw invalid(`Give a targetAddr, or as capabilities ${limits}`);
}

function textOf(name: string, value: unknown, maxChars: number): string {
  const text = typeof value === 'string' ? value.trim() : '';
  if (text !== '' && text.length <= maxChars) return text;
  throw invalid(`${name} must be a text of 1 to ${maxChars} characters`);
}

function timeoutOf(value: unknown): number {
  const ms = typeof value === 'string' ? Number.parseInt(value, 10) : value;
  return typeof ms === 'number' && Number.isFinite(ms) && ms >= 1
    ? Math.min(Math.floor(ms), MAX_TIMEOUT_MS)
    : DEFAULT_TIMEOUT_MS;
}

const invalid = (message: string): FabricError => new FabricError('REQUEST_INVALID', message);
