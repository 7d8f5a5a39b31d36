// Connections to model servers, which stay open between the turns of a conversation. Node's global agents close an idle connection
// after 5 s. A person often takes longer to read an answer, and the next turn would then wait for a new connection and its TLS handshake.
import http from 'node:http';
import https from 'node:https';

/** Time for which an idle connection stays open, in ms. A shorter `Keep-Alive: timeout` of the server takes precedence. */
const IDLE_MS = 60_000;
/** Maximum number of idle connections to one host. Node's default of 256 is less than the turns that an agent runs at once. */
const MAX_IDLE = 1_024;

const agents = new WeakMap<http.Agent, http.Agent>();

/** Returns the agent for requests with this protocol, such as `https:`. It has the proxies and certificates of the global agent. */
export function agentFor(protocol: string): http.Agent {
  const { Agent, globalAgent } = protocol === 'https:' ? https : http;
  // A program may have replaced the global agent by one of its own class.
  if (Object.getPrototypeOf(globalAgent) !== Agent.prototype) return globalAgent;
  let agent = agents.get(globalAgent);
  if (!agent) {
    // Its type does not declare the options.
    const { options } = globalAgent as unknown as { options: http.AgentOptions };
    agent = new Agent({ ...options, timeout: IDLE_MS, maxFreeSockets: MAX_IDLE });
    agents.set(globalAgent, agent);
  }
  return agent;
}

/** Time after which a lost request counts as received, in ms. On a connection that the server has closed, the error arrives after one round trip. */
const RECEIVED_MS = 1_000;

/**
 * True if a request failed because the server had closed the idle connection that carried it. `waitedMs` is the time since it was sent:
 * after a long wait the model may have run, so a repeat must count as an attempt.
 */
export const wasIdleClosed = (
  { reusedSocket }: http.ClientRequest,
  { code }: NodeJS.ErrnoException,
  waitedMs: number,
): boolean => reusedSocket && waitedMs < RECEIVED_MS && (code === 'ECONNRESET' || code === 'EPIPE');
