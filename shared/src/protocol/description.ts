// The answer to `describe`: the operations of an agent and their parameters. Every agent of Fame Fabric answers it, unless it declares
// an operation of that name. Agents of other implementations may answer with anything, or have no such operation.

/** One operation in the answer to `describe`. */
export interface OperationDescription {
  name: string;
  description?: string;
  /** JSON Schema of the parameters: an object, or an array for parameters that have positions only. */
  params: Record<string, unknown>;
  /** True if the operation yields items. */
  streams: boolean;
  /** Present if the operation does not count towards the agent's limit on calls. */
  immediate?: true;
  /** Present if a call with the same id gets the outcome of the first one, and the operation never runs again after it. */
  durable?: true;
  /**
   * Present if `params` is incomplete. A schema larger than the limit is reduced to its type and the names of the parameters, and
   * parameters that have no JSON Schema are left out.
   */
  truncated?: true;
}

/** The answer to `describe`. Agents with conversations add their model and their settings. */
export interface AgentDescription {
  address: string;
  description?: string;
  operations: OperationDescription[];
  /** Present if there was no room for all operations. */
  truncated?: true;
  /** Present if the agent runs tasks: it has `tasks/send`, `tasks/get` and the other task methods. */
  tasks?: true;
  /** Present if the push notifications of tasks can have the form of A2A: `format: 'a2a'` of their configuration. */
  a2aPush?: true;
}
