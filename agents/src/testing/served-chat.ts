// Serves an agent on a fake link, and calls its operations by name.
import { FabricError, type Task } from '@fame-fabric/shared';
import type { AgentLink, ServeOptions, Serving } from '../agent/agent-types.ts';
import { FakeLink } from './fake-link.ts';

interface Servable {
  serve(link: AgentLink, options?: ServeOptions): Promise<Serving>;
}

export interface ServedChat {
  /** Calls an operation. @throws {FabricError} with the code of the agent's answer */
  call<T = unknown>(
    method: string,
    params?: object,
    options?: { id?: string; principal?: string },
  ): Promise<T>;
  start(params?: object): Promise<Task>;
  /** Runs a turn and returns its text. The message is the turn id too. */
  say(conversationId: string, message: string): Promise<string>;
  close(): Promise<void>;
}

export async function servedChat(agent: Servable, options?: ServeOptions): Promise<ServedChat> {
  const link = new FakeLink();
  const serving = await agent.serve(link, options);
  const [address] = link.bound.keys();
  const call: ServedChat['call'] = async (method, params = {}, more = {}) => {
    const { result, error } = await link.start(address!, method, params, more).done;
    if (!error) return result as never;
    const { code, details } = error.data as { code: 'INTERNAL'; details?: Record<string, unknown> };
    throw new FabricError(code, error.message, details ? { details } : {});
  };
  return {
    call,
    start: (params = {}) => call('start_task', params),
    say: (conversation_id, user_message) =>
      call('run_turn', { conversation_id, user_message, turn_id: user_message }),
    close: () => serving.close(),
  };
}
