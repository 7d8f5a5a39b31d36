// Interface of the request handler to the tasks of one agent for one caller. Chat agents and agents with task methods have one
// implementation each. Neither has state: the agent stores the tasks.
import type { Client } from '@fame-fabric/client';
import type { Clock, Logger } from '@fame-fabric/shared';
import type { AgentCard } from '../fabric/agent-card.ts';
import type {
  ListTasksRequest,
  Message,
  StreamResponse,
  Task,
  TaskPushNotificationConfig,
  TaskState,
} from './sdk.ts';

/** A task with the updates that follow it. Without a reader the updates cost nothing. */
export interface FollowedTask {
  readonly task: Task;
  /** Ends after the update to a terminal state. */
  updates(): AsyncIterable<StreamResponse>;
}

/** The answer to a message: a task, or the message of an agent that has no tasks. */
type Sent = FollowedTask | { readonly message: Message };

export interface TaskPage {
  tasks: Task[];
  /** Empty on the last page. */
  nextPageToken: string;
  totalSize: number;
}

/** A request for a page, checked. */
export interface TaskQuery extends Pick<ListTasksRequest, 'contextId' | 'pageToken'> {
  /** @default tasks in every state */
  readonly state?: TaskState | undefined;
  /** Minimum time of the status, in ms since the epoch. */
  readonly changedSince?: number | undefined;
  readonly pageSize: number;
}

/** Push notifications of an agent that supports them. */
export interface PushConfigs {
  create(config: TaskPushNotificationConfig): Promise<TaskPushNotificationConfig>;
  list(taskId: string): Promise<TaskPushNotificationConfig[]>;
  /** Has no effect if the configuration does not exist. */
  delete(taskId: string, id: string): Promise<void>;
}

export interface TaskSource {
  /** Undefined if the agent cannot send notifications. */
  readonly push?: PushConfigs | undefined;
  /** Starts a task, or continues the task that the message names. A repeated message joins the first one. */
  send(message: Message, push: TaskPushNotificationConfig | undefined): Promise<Sent>;
  /** Waits for a task that has ended or asks for input, or for the message of an agent that needed no task. */
  outcome(id: string): Promise<Task | Message>;
  /** @throws TaskNotFoundError, also for the tasks of others */
  get(id: string): Promise<Task>;
  follow(id: string): Promise<FollowedTask>;
  /** @throws TaskNotFoundError, TaskNotCancelableError */
  cancel(id: string): Promise<Task>;
  list(query: TaskQuery): Promise<TaskPage>;
}

export interface TaskSourceDeps {
  readonly client: Client;
  readonly agent: AgentCard;
  /** The caller, as `Visitor.principal`. */
  readonly principal: string;
  /** Aborts when the client disconnects or the request ends. It never cancels a task. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Logger;
}
