// The only file that imports the ACP library, so that another library or version changes one file.
export {
  type AgentContext,
  agent,
  type ContentBlock,
  type InitializeResponse,
  type ListSessionsResponse,
  methods,
  ndJsonStream,
  type PermissionOption,
  PROTOCOL_VERSION,
  type PromptResponse,
  RequestError,
  type SessionUpdate,
  type StopReason,
} from '@agentclientprotocol/sdk';
