// The parts that a router needs: the envelope and its codec, matching of paths and pools, and reading the header of an envelope
// without its payload. Repeats names of `index.ts` and `node.ts`, because a router starts faster without loading the link, pino
// and `ws`.
import './env/require-node.ts';

export { readBoundedFile } from './access/bounded-file.ts';
export type { DoorGrant, DoorHost, Doors, HttpDoors, ServedAddress } from './access/door-host.ts';
export { ensureLocalKey, isLocalKey, isTrusted, readTokenFile } from './access/local-key-file.ts';
export {
  isHostName,
  isLoopback,
  isOrigin,
  isOwnPage,
  LOOPBACK_PAGES,
  type OriginHeaders,
  type OriginOptions,
  originFault,
  type RequestOriginOptions,
  requestFault,
  settingForPage,
  upgradeFault,
} from './access/origin.ts';
export {
  createPrivateFile,
  isOpenToOthers,
  replacePrivateFile,
  writeFlushed,
} from './access/private-file.ts';
export { systemClock } from './async/clock.ts';
export { makeDirectory } from './data-dir.ts';
export { ERRORS, isErrorCode, tableCode } from './errors/codes.ts';
export { FabricError, isFabricError } from './errors/error.ts';
export {
  ClientAddresses,
  ConnectionSlots,
  clientNetwork,
  DEFAULT_CONNECTIONS_PER_ADDRESS,
  isLoopbackAddress,
  isNetwork,
} from './http/client-address.ts';
export { closeWith, refusalBody, refusalBytes, refuseMalformed, refuseOn } from './http/http-refusal.ts';
export { http } from './http/node-http.ts';
export { HTTP_IDLE_MS, limitServer, SERVER_OPTIONS } from './http/server-limits.ts';
export { newId } from './ids.ts';
export { LOG_LEVELS, silentLog } from './log.ts';
export { LoopDelay } from './metrics/loop-delay.ts';
export { openFileLimit } from './metrics/open-files.ts';
export { type Percentiles, percentilesOf } from './metrics/percentiles.ts';
export {
  agentAddressOf,
  isUnder,
  locationOf,
  poolMatches,
  REPLY_PREFIX,
  SYSTEM_PARTICIPANT,
  tryParseAddress,
} from './protocol/address.ts';
export { decode, encode } from './protocol/codec.ts';
export { timeoutOf } from './protocol/deadline.ts';
export { FLOW, makeEnvelope, RTYPE } from './protocol/envelope.ts';
export { LIMITS } from './protocol/limits.ts';
export { Credit, Header, readCredit, readHeader } from './protocol/router/header.ts';
export { readSession, sessionFile, writeSession } from './session-file.ts';
export { sidOf } from './sid.ts';
export { isTracingRequested } from './telemetry/config.ts';
export { ATTRIBUTE } from './telemetry/names.ts';
export { TRACEPARENT_CHARS, type Tracing, traceparentIn, tracing } from './telemetry/tracing.ts';
