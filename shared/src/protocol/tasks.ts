// The task types of the Fame protocol, an early A2A. Optional fields may be absent or null.

export type TaskState =
  | 'submitted'
  | 'working'
  | 'input-required'
  | 'completed'
  | 'canceled'
  | 'failed'
  | 'unknown';

export const isFinalState = (state: TaskState): boolean =>
  state === 'completed' || state === 'canceled' || state === 'failed';

export type Part =
  | { type: 'text'; text: string; metadata?: Record<string, unknown> | null }
  | { type: 'data'; data: Record<string, unknown>; metadata?: Record<string, unknown> | null }
  | {
      type: 'file';
      file: { name?: string | null; mimeType?: string | null; bytes?: string | null; uri?: string | null };
      metadata?: Record<string, unknown> | null;
    };

export interface Message {
  role: 'user' | 'agent';
  parts: Part[];
  metadata?: Record<string, unknown> | null;
}
export interface TaskStatus {
  state: TaskState;
  message?: Message | null;
  /** ISO 8601. */
  timestamp: string;
}
export interface Artifact {
  name?: string | null;
  description?: string | null;
  parts: Part[];
  metadata?: Record<string, unknown> | null;
  index: number;
  append?: boolean | null;
  lastChunk?: boolean | null;
}
export interface Task {
  id: string;
  sessionId?: string | null;
  status: TaskStatus;
  artifacts?: Artifact[] | null;
  history?: Message[] | null;
  metadata?: Record<string, unknown> | null;
}
export interface TaskSendParams {
  id: string;
  sessionId?: string | null;
  message: Message;
  acceptedOutputModes?: string[] | null;
  pushNotification?: PushNotificationConfig | null;
  historyLength?: number | null;
  metadata?: Record<string, unknown> | null;
}
export interface PushNotificationConfig {
  /** A Fame address, or an http(s) URL. */
  url: string;
  token?: string | null;
  authentication?: { schemes: string[]; credentials?: string | null } | null;
  /** Id among several configurations of one task. Only agents of Fame Fabric support it. @default the configuration without an id */
  id?: string | null;
  /**
   * Form of the notifications. `a2a`: the status updates of A2A 1.0, POSTed to an https URL at least once. Only agents of Fame Fabric support
   * it.
   * @default the form of the Fame protocol
   */
  format?: 'a2a' | null;
}
export interface TaskStatusUpdateEvent {
  id: string;
  status: TaskStatus;
  final: boolean;
  metadata?: Record<string, unknown> | null;
}
export interface TaskArtifactUpdateEvent {
  id: string;
  artifact: Artifact;
  metadata?: Record<string, unknown> | null;
}
/** An event of a task: a change of its state, or an artifact. `'status' in event` tells them apart. */
export type TaskEvent = TaskStatusUpdateEvent | TaskArtifactUpdateEvent;

export interface AgentSkill {
  id: string;
  name: string;
  description?: string | null;
  tags?: string[] | null;
  examples?: string[] | null;
  inputModes?: string[] | null;
  outputModes?: string[] | null;
}
export interface AgentCard {
  name: string;
  description?: string | null;
  url: string;
  provider?: { organization: string; url?: string | null } | null;
  version: string;
  documentationUrl?: string | null;
  capabilities: { streaming: boolean; pushNotifications: boolean; stateTransitionHistory: boolean };
  authentication?: { schemes: string[]; credentials?: string | null } | null;
  defaultInputModes: string[];
  defaultOutputModes: string[];
  skills: AgentSkill[];
}

/** Returns the text of the first text part of a message. */
export const firstText = (message: Message | null | undefined): string | undefined => {
  for (const part of message?.parts ?? []) if (part.type === 'text') return part.text;
  return undefined;
};
/** Returns the data of the first data part of a message. */
export const firstData = (message: Message | null | undefined): Record<string, unknown> | undefined => {
  for (const part of message?.parts ?? []) if (part.type === 'data') return part.data;
  return undefined;
};
/** Creates a message with one text part. */
export const textMessage = (role: Message['role'], text: string): Message => ({
  role,
  parts: [{ type: 'text', text }],
});
