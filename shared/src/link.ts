// Parts of the link for our own workspaces, without a promise to users. Loads in a browser.
export { agentHandle } from './link/agent-handle.ts';
export { taskMethods } from './link/agent-tasks.ts';
export { CALL_TIMEOUT_MS } from './link/calls.ts';
export { Dialer, type DialerDeps, type DialerOptions } from './link/dialer.ts';
export { Heartbeat, type HeartbeatDeps, type HeartbeatOptions } from './link/heartbeat.ts';
export { SERVING_BACKOFF_MAX_MS } from './link/link.ts';
export { TokenRenewal } from './link/token-renewal.ts';
