// The public names of shared. Loads in a browser: `node.ts` exports the parts that need Node, `testing.ts` the test kit.
export type { Caller, ClaimValue, Principal, Rights, Role } from './access/principal.ts';
export { type Clock, systemClock, type Timer } from './async/clock.ts';
export { AgentError } from './errors/agent-error.ts';
export { ERRORS, type ErrorCode, type ErrorEntry, isErrorCode } from './errors/codes.ts';
export { FabricError, type FabricErrorOptions, isFabricError } from './errors/error.ts';
export { newId } from './ids.ts';
export type { AgentHandle, OperationTypes } from './link/agent-handle.ts';
export { Link } from './link/link.ts';
export type {
  AcknowledgedSendOptions,
  BindOptions,
  CallOptions,
  CallTarget,
  IncomingCall,
  LinkOptions,
  LinkState,
  Send,
  SendOptions,
  Service,
} from './link/link-types.ts';
export { memoryDial, memoryPair } from './link/memory-transport.ts';
export type { LinkSignatures, PeerKey } from './link/signatures.ts';
export type {
  AgentTasks,
  RunManyOptions,
  RunTaskOptions,
  StartTaskOptions,
  SubscribeOptions,
  TaskFields,
  TaskMethods,
  TaskOutcome,
  TaskPayload,
  TaskRequestOptions,
  TaskResult,
} from './link/task-types.ts';
export type { Dial, DialOptions, TokenSource, Transport } from './link/transport.ts';
export { webDial } from './link/web-transport.ts';
export { LOG_LEVELS, type LogFields, type Logger, type LogLevel, silentLog } from './log.ts';
export {
  type Address,
  agentAddressOf,
  parseAddress,
  REPLY_PREFIX,
  SYSTEM_PARTICIPANT,
  tryParseAddress,
} from './protocol/address.ts';
export { decode, encode } from './protocol/codec.ts';
export type { AgentDescription, OperationDescription } from './protocol/description.ts';
export {
  type AddressBind,
  type AddressBindAck,
  type AddressUnbind,
  type AddressUnbindAck,
  type CallCancel,
  type CapabilityAdvertise,
  type CapabilityAdvertiseAck,
  type CapabilityWithdraw,
  type CapabilityWithdrawAck,
  type CreditUpdate,
  type DataFrame,
  type DeliveryAck,
  type Envelope,
  type EnvelopeHeader,
  FLOW,
  type Frame,
  type FrameOf,
  type FrameType,
  type KeyAnnounce,
  type KeyRequest,
  makeEnvelope,
  type NodeAttach,
  type NodeAttachAck,
  type NodeHeartbeat,
  type NodeHeartbeatAck,
  type OpaqueFrame,
  RTYPE,
  type WhoIs,
  type WhoIsAck,
} from './protocol/envelope.ts';
export { LIMITS } from './protocol/limits.ts';
export {
  type CallParams,
  type RpcErrorBody,
  type RpcReply,
  type RpcRequest,
  readParams,
  rpcError,
  rpcRequest,
  rpcResult,
} from './protocol/rpc.ts';
export {
  type AgentCard,
  type AgentSkill,
  type Artifact,
  firstData,
  firstText,
  isFinalState,
  type Message,
  type Part,
  type PushNotificationConfig,
  type Task,
  type TaskArtifactUpdateEvent,
  type TaskEvent,
  type TaskSendParams,
  type TaskState,
  type TaskStatus,
  type TaskStatusUpdateEvent,
  textMessage,
} from './protocol/tasks.ts';
