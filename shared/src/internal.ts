// Primitives for our own workspaces, without a promise to users. Loads in a browser, and without the link: `fame` and a sentinel
// start faster without it.
export {
  ISSUER_URL_FORM,
  type IssuerReply,
  isIssuerUrl,
  requestIssuer,
} from './access/issuer-request.ts';
export { ISSUER_VARIABLES } from './access/issuer-settings.ts';
export { ANONYMOUS, callerOf, readPrincipal, type SpendingLimits } from './access/principal.ts';
export { onAbort, pause, untilAborted } from './async/abort.ts';
export { Backoff, type BackoffOptions, backoffDelayMs } from './async/backoff.ts';
export { Broadcast, ChangeSignal, type FollowOptions, type TakeItem } from './async/broadcast.ts';
export { Channel, type ChannelOptions } from './async/channel.ts';
export { LONGEST_TIMER_MS } from './async/clock.ts';
export { Fifo } from './async/fifo.ts';
export { type KeyedJob, KeyedQueue, type KeyedQueueOptions } from './async/keyed-queue.ts';
export { isThenable } from './async/thenable.ts';
export { closestMatch } from './cli/closest-match.ts';
export { escapeControls, escapeLine, printableJson } from './cli/escape-controls.ts';
export { EXIT, exitCodeOf } from './cli/exit-codes.ts';
export { explainError } from './cli/explain-error.ts';
export { isJsonLog, LOG_FORMATS, type LogFormat, lifeLine, textOfLogLine } from './cli/log-format.ts';
export { createStyle, type Style } from './cli/style.ts';
export { formatTable } from './cli/table.ts';
export { graphemes, graphemeWidth, textWidth } from './cli/text-width.ts';
export {
  checkNaylenceVariables,
  NAYLENCE_VARIABLES,
  type NaylenceVariable,
  naylenceWarnings,
  withoutWarned,
} from './env/naylence-variables.ts';
export { BOOLEANS, configInvalid, EnvReader, printable, readEnv, type UrlOptions } from './env/read-env.ts';
export type { Environment, Variable } from './env/variable.ts';
export { errorOfCode, isAgentCode } from './errors/agent-error.ts';
export { tableCode } from './errors/codes.ts';
export { errorMessage } from './errors/error-message.ts';
export { reasonOf } from './errors/reason-of.ts';
export {
  ADMISSION_VARIABLES,
  type AdmissionUrls,
  ATTACH_PATH,
  admissionUrl,
  type ClientCertificate,
  leastTrustedUrl,
  readAdmissionUrls,
  readClientCertificate,
  readLocalListener,
  readTokenSettings,
  type TokenSettings,
} from './link/admission-url.ts';
export { type Behalf, behalfMeta } from './link/behalf.ts';
export {
  AGENT_CAPABILITY,
  BYTE_CREDIT_CAPABILITY,
  CANCEL_CAPABILITY,
  isOwnSoftware,
  NODE_CAPABILITIES,
  PAIR_FLOWS_CAPABILITY,
  STREAM_FLOWS_CAPABILITY,
  WHO_IS_CAPABILITY,
} from './link/capabilities.ts';
export { isLoopbackHost } from './link/loopback.ts';
export { mayNeedTls, tlsFault } from './link/tls-fault.ts';
export { type Percentiles, percentilesOf } from './metrics/percentiles.ts';
export { isUnder, REPLICA_MARK } from './protocol/address.ts';
export { timeoutOf } from './protocol/deadline.ts';
export { FRAME_TYPES, isFrameType } from './protocol/frames.ts';
export { type PartialHeader, parsePartialHeader } from './protocol/partial-header.ts';
export { errorOfReply, isRpcRequest, rpcRefusal } from './protocol/rpc.ts';
export { shownHeader, shownValue } from './protocol/shown-header.ts';
export { canonicalJson } from './protocol/signature/canonical-json.ts';
export { isTracingRequested, TELEMETRY_VARIABLES } from './telemetry/config.ts';
export { ATTRIBUTE, OPERATION } from './telemetry/names.ts';
export { spanned } from './telemetry/spanned.ts';
export {
  type Attributes,
  errorTypeOf,
  TRACEPARENT,
  type TraceSpan,
  type Tracing,
  traceparentIn,
  tracing,
} from './telemetry/tracing.ts';
export { charBoundary, cutText, isHighSurrogate } from './text/cut-text.ts';
export { redactUrl } from './text/redact-url.ts';
export { timeText } from './text/time-text.ts';
