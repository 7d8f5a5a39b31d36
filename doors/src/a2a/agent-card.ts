// The A2A card of an agent, from its description.
import type { AgentCard as FabricCard } from '../fabric/agent-card.ts';
import {
  type A2ARequestHandler,
  type AgentCard,
  type AgentInterface,
  type AgentSkill,
  LegacyRestTransportHandler,
  type SecurityRequirement,
  type SecurityScheme,
  ServerCallContext,
} from './sdk.ts';

/** Version in the card of an agent without a version. */
const DEFAULT_VERSION = '1.0.0';
const TEXT = 'text/plain';
const DATA = 'application/json';

/** Path of an agent on the port. */
const agentPath = (address: string): string => `/a2a/${encodeURIComponent(address).replaceAll('%40', '@')}`;

/** True if the agent sends push notifications for A2A. */
const canPush = ({ isChat, raw }: FabricCard): boolean => !isChat && raw.a2aPush === true;

/**
 * Makes the card of an agent. `base` is the URL of the port, without a slash at its end. `needsCredential` is true if the sentinel asks
 * callers for a credential.
 */
export function cardOf(agent: FabricCard, base: string, needsCredential: boolean): AgentCard {
  const { address, name, description = `The agent at ${address}.`, version = DEFAULT_VERSION } = agent;
  return {
    name,
    description,
    version,
    supportedInterfaces: interfacesOf(base + agentPath(address)),
    provider: undefined,
    capabilities: {
      streaming: true,
      pushNotifications: canPush(agent),
      extendedAgentCard: needsCredential,
      extensions: [],
    },
    securitySchemes: needsCredential ? SCHEMES : {},
    securityRequirements: needsCredential ? REQUIREMENTS : [],
    defaultInputModes: [TEXT, DATA],
    defaultOutputModes: agent.isChat ? [TEXT] : [TEXT, DATA],
    skills: skillsOf(agent, description),
    signatures: [],
  };
}

/** The card of an agent for callers without a credential: only its interfaces. */
export const publicCardOf = (address: string, base: string): AgentCard =>
  cardOf(
    {
      address,
      name: address.slice(0, Math.max(0, address.indexOf('@'))),
      description:
        'An agent of a Fame fabric. Call GetExtendedAgentCard with a credential for its description.',
      isChat: true,
      hasTasks: false,
      operations: [],
      isDescribed: false,
      raw: {},
    },
    base,
    true,
  );

// Clients of version 0.3 append `/v1` to the URL of HTTP+JSON themselves.
const interfacesOf = (url: string): AgentInterface[] => [
  { url, protocolBinding: 'JSONRPC', tenant: '', protocolVersion: '1.0' },
  { url: `${url}/v1`, protocolBinding: 'HTTP+JSON', tenant: '', protocolVersion: '1.0' },
  { url, protocolBinding: 'JSONRPC', tenant: '', protocolVersion: '0.3' },
  { url, protocolBinding: 'HTTP+JSON', tenant: '', protocolVersion: '0.3' },
];

const SCHEMES: Readonly<Record<string, SecurityScheme>> = Object.freeze({
  bearer: {
    scheme: {
      $case: 'httpAuthSecurityScheme',
      value: { description: 'A key or a token of the fabric.', scheme: 'Bearer', bearerFormat: '' },
    },
  },
  apiKey: {
    scheme: {
      $case: 'apiKeySecurityScheme',
      value: { description: 'A key of the fabric.', location: 'header', name: 'x-api-key' },
    },
  },
});
const REQUIREMENTS: SecurityRequirement[] = Object.keys(SCHEMES).map((name) => ({
  schemes: { [name]: { list: [] } },
}));

/** A chat agent and an agent with tasks have one skill. Another agent has one for each operation. */
function skillsOf(
  { isChat, hasTasks, isDescribed, name, operations }: FabricCard,
  description: string,
): AgentSkill[] {
  if (isChat) return [skill('chat', 'Chat', description, ['chat'])];
  if (hasTasks || !isDescribed) return [skill('task', name, description, ['task'])];
  return operations
    .filter((operation) => operation.name !== 'describe' && operation.name !== 'agent.get_card')
    .map((operation) =>
      skill(operation.name, operation.name, operation.description ?? `The operation ${operation.name}.`, [
        'operation',
      ]),
    );
}

const skill = (id: string, name: string, description: string, tags: string[]): AgentSkill => ({
  id,
  name,
  description,
  tags,
  examples: [],
  inputModes: [],
  outputModes: [],
  securityRequirements: [],
});

/** Converts a card for clients of version 0.3. */
export function legacyCardOf(card: AgentCard): Promise<unknown> {
  const handler = { getAuthenticatedExtendedAgentCard: async () => card } as unknown as A2ARequestHandler;
  return new LegacyRestTransportHandler(handler).getAuthenticatedExtendedAgentCard(new ServerCallContext());
}
